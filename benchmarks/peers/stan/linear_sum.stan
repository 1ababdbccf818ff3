// Two compartments, intravenous, doses at any times: the sum over every dose before the observation.
functions {
  real spread(real rate, real duration) {
    return duration == 0 ? 1 : expm1(rate * duration) / (rate * duration);
  }
}
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  int<lower=1> P; // pairs of an observation and a dose before it
  array[K] int<lower=1, upper=N> id;
  array[K + 1] int<lower=1> first; // first pair of each observation
  vector[P] since; // time from the start of the dose to the observation
  vector[K] log_y;
  real amount;
  real duration;
  real sigma;
}
parameters {
  vector[N] CL;
  vector[N] V1;
  vector[N] Q;
  vector[N] V2;
}
transformed parameters {
  vector[K] concentration;
  {
    vector[N] fast;
    vector[N] slow;
    vector[N] of_fast;
    vector[N] of_slow;
    for (i in 1 : N) {
      real k10 = CL[i] / V1[i];
      real k21 = Q[i] / V2[i];
      real total = k10 + Q[i] / V1[i] + k21;
      fast[i] = 0.5 * (total + sqrt(square(total) - 4 * k10 * k21));
      slow[i] = k10 * k21 / fast[i];
      real scale = amount / (V1[i] * (fast[i] - slow[i]));
      of_fast[i] = scale * (fast[i] - k21) * spread(fast[i], duration);
      of_slow[i] = scale * (k21 - slow[i]) * spread(slow[i], duration);
    }
    for (k in 1 : K) {
      int i = id[k];
      int low = first[k];
      int high = first[k + 1] - 1;
      concentration[k] = of_fast[i] * sum(exp(-fast[i] * since[low : high]))
                         + of_slow[i] * sum(exp(-slow[i] * since[low : high]));
    }
  }
}
model {
  log_y ~ normal(log(concentration), sigma);
}
