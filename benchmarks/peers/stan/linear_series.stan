// Two compartments, intravenous, equal doses at equal intervals: the geometric series in closed form.
functions {
  // How an infusion of the given duration differs from a bolus, by the mode's rate constant.
  vector spread(vector rate, real duration) {
    if (duration == 0) {
      return rep_vector(1, size(rate));
    }
    return expm1(rate * duration) ./ (rate * duration);
  }
}
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  array[K] int<lower=1, upper=N> id;
  vector[K] since; // time since the start of the last dose
  vector[K] doses; // how many doses went before
  vector[K] log_y;
  real amount;
  real duration;
  real tau;
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
    vector[N] k10 = CL ./ V1;
    vector[N] k21 = Q ./ V2;
    vector[N] total = k10 + Q ./ V1 + k21;
    vector[N] fast = 0.5 * (total + sqrt(square(total) - 4 * k10 .* k21));
    vector[N] slow = k10 .* k21 ./ fast;
    vector[N] scale = amount ./ (V1 .* (fast - slow));
    vector[N] of_fast = scale .* (fast - k21) .* spread(fast, duration) ./ expm1(-fast * tau);
    vector[N] of_slow = scale .* (k21 - slow) .* spread(slow, duration) ./ expm1(-slow * tau);
    vector[K] fast_of = fast[id];
    vector[K] slow_of = slow[id];
    concentration = of_fast[id] .* exp(-fast_of .* since) .* expm1(-tau * doses .* fast_of)
                    + of_slow[id] .* exp(-slow_of .* since) .* expm1(-tau * doses .* slow_of);
  }
}
model {
  log_y ~ normal(log(concentration), sigma);
}
