// Two compartments, infusions, parallel linear and Michaelis-Menten elimination, solved piece by
// piece from event to event; variability of CL, V2 and VMAX, weight on CL and V1; residual error of
// the logarithm, and the probability of lying below the limit of quantification.
functions {
  vector rates(real t, vector a, real CL, real V1, real Q, real V2, real VMAX, real KM,
               real infusion) {
    real c = a[1] / V1;
    real exchange = Q * (c - a[2] / V2);
    return [infusion - CL * c - VMAX * c / (KM + c) - exchange, exchange]';
  }
}
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  int<lower=1> E; // pieces of all patients, in which the rate of infusion stays the same
  array[N + 1] int<lower=1> first; // first piece of each patient
  array[E] int<lower=0, upper=K> observation; // the observation at the end of the piece, 0 if none
  array[E] real start;
  array[E] real end;
  array[E] real infusion;
  vector[K] log_y; // of the limit where the observation lies below it
  array[K] int<lower=0, upper=1> below;
  vector[N] log_weight; // relative to the reference
  vector[6] typical_mean; // of the logarithms of CL, V1, Q, V2, VMAX and KM
  vector[6] typical_sd;
  vector[2] beta_mean; // of the weight on CL and V1
  vector[2] beta_sd;
  real omega_scale; // of CL
  vector[2] omega_mean; // of the logarithms of the omegas of V2 and VMAX
  vector[2] omega_sd;
  real sigma_scale;
  real tolerance;
  int<lower=0, upper=1> centred;
}
parameters {
  vector<offset=typical_mean, multiplier=typical_sd>[6] log_typical;
  vector<offset=beta_mean, multiplier=beta_sd>[2] beta;
  real<lower=0> omega_CL;
  vector<offset=omega_mean, multiplier=omega_sd>[2] log_omega;
  real<lower=0> sigma;
  matrix[N, 3] effect; // of patients; in units of omega where not centred
}
model {
  vector[3] omega = append_row(omega_CL, exp(log_omega));
  matrix[N, 3] eta = centred ? effect : diag_post_multiply(effect, omega);
  vector[N] CL = exp(log_typical[1] + beta[1] * log_weight + eta[ : , 1]);
  vector[N] V1 = exp(log_typical[2] + beta[2] * log_weight);
  real Q = exp(log_typical[3]);
  vector[N] V2 = exp(log_typical[4] + eta[ : , 2]);
  vector[N] VMAX = exp(log_typical[5] + eta[ : , 3]);
  real KM = exp(log_typical[6]);
  vector[K] concentration;
  for (i in 1 : N) {
    vector[2] a = [0, 0]';
    for (e in first[i] : first[i + 1] - 1) {
      a = ode_rk45_tol(rates, a, start[e], {end[e]}, tolerance, 1e-3 * tolerance, 100000,
                       CL[i], V1[i], Q, V2[i], VMAX[i], KM, infusion[e])[1];
      if (observation[e] > 0) {
        concentration[observation[e]] = a[1] / V1[i];
      }
    }
  }
  log_typical ~ normal(typical_mean, typical_sd);
  beta ~ normal(beta_mean, beta_sd);
  omega_CL ~ normal(0, omega_scale);
  log_omega ~ normal(omega_mean, omega_sd);
  sigma ~ normal(0, sigma_scale);
  if (centred) {
    for (j in 1 : 3) {
      effect[ : , j] ~ normal(0, omega[j]);
    }
  } else {
    to_vector(effect) ~ std_normal();
  }
  for (n in 1 : K) {
    if (below[n]) {
      target += normal_lcdf(log_y[n] | log(concentration[n]), sigma);
    } else {
      log_y[n] ~ normal(log(concentration[n]), sigma);
    }
  }
}
