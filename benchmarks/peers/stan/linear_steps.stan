// Two compartments, intravenous, doses at any times: the two modes carried from event to event.
functions {
  real spread(real rate, real duration) {
    return duration == 0 ? 1 : expm1(rate * duration) / (rate * duration);
  }
}
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  int<lower=1> E; // events: doses and observations of all patients
  array[N + 1] int<lower=1> first; // first event of each patient
  array[E] int<lower=0, upper=K> observation; // which one it is, 0 for a dose
  vector[E] elapsed; // since the patient's event before; an infusion counts from its start
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
  for (i in 1 : N) {
    real k10 = CL[i] / V1[i];
    real k21 = Q[i] / V2[i];
    real total = k10 + Q[i] / V1[i] + k21;
    real fast = 0.5 * (total + sqrt(square(total) - 4 * k10 * k21));
    real slow = k10 * k21 / fast;
    real scale = amount / (V1[i] * (fast - slow));
    real of_fast = scale * (fast - k21) * spread(fast, duration);
    real of_slow = scale * (k21 - slow) * spread(slow, duration);
    real in_fast = 0;
    real in_slow = 0;
    for (e in first[i] : first[i + 1] - 1) {
      if (elapsed[e] > 0) {
        in_fast *= exp(-fast * elapsed[e]);
        in_slow *= exp(-slow * elapsed[e]);
      }
      if (observation[e] > 0) {
        concentration[observation[e]] = in_fast + in_slow;
      } else {
        in_fast += of_fast;
        in_slow += of_slow;
      }
    }
  }
}
model {
  log_y ~ normal(log(concentration), sigma);
}
