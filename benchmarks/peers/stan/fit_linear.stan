// Two compartments, boluses at any times, carried from event to event; variability of CL and V1,
// weight on CL; proportional residual error.
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  int<lower=1> E; // events: doses and observations of all patients
  array[N + 1] int<lower=1> first; // first event of each patient
  array[E] int<lower=0, upper=K> observation; // which one it is, 0 for a dose
  vector[E] elapsed; // since the patient's event before
  vector[E] amount;
  vector[K] y;
  vector[N] log_weight; // relative to the reference
  vector[4] typical_mean; // of the logarithms of CL, V1, Q and V2
  vector[4] typical_sd;
  real beta_mean;
  real beta_sd;
  vector[2] omega_scale;
  real sigma_scale;
  int<lower=0, upper=1> centred;
}
parameters {
  vector<offset=typical_mean, multiplier=typical_sd>[4] log_typical;
  real<offset=beta_mean, multiplier=beta_sd> beta;
  vector<lower=0>[2] omega;
  real<lower=0> sigma;
  matrix[N, 2] effect; // of patients; in units of omega where not centred
}
model {
  matrix[N, 2] eta = centred ? effect : diag_post_multiply(effect, omega);
  vector[N] CL = exp(log_typical[1] + beta * log_weight + eta[ : , 1]);
  vector[N] V1 = exp(log_typical[2] + eta[ : , 2]);
  real Q = exp(log_typical[3]);
  real V2 = exp(log_typical[4]);
  vector[K] concentration;
  for (i in 1 : N) {
    real k10 = CL[i] / V1[i];
    real k21 = Q / V2;
    real total = k10 + Q / V1[i] + k21;
    real fast = 0.5 * (total + sqrt(square(total) - 4 * k10 * k21));
    real slow = k10 * k21 / fast;
    real of_fast = (fast - k21) / (V1[i] * (fast - slow));
    real of_slow = (k21 - slow) / (V1[i] * (fast - slow));
    real in_fast = 0;
    real in_slow = 0;
    for (e in first[i] : first[i + 1] - 1) {
      if (elapsed[e] > 0) {
        in_fast *= exp(-fast * elapsed[e]);
        in_slow *= exp(-slow * elapsed[e]);
      }
      if (observation[e] > 0) {
        concentration[observation[e]] = of_fast * in_fast + of_slow * in_slow;
      } else {
        in_fast += amount[e];
        in_slow += amount[e];
      }
    }
  }
  log_typical ~ normal(typical_mean, typical_sd);
  beta ~ normal(beta_mean, beta_sd);
  omega ~ normal(0, omega_scale);
  sigma ~ normal(0, sigma_scale);
  if (centred) {
    for (j in 1 : 2) {
      effect[ : , j] ~ normal(0, omega[j]);
    }
  } else {
    to_vector(effect) ~ std_normal();
  }
  y ~ normal(concentration, sigma * concentration);
}
