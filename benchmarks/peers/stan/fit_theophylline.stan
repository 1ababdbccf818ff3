// One compartment, first-order absorption, a single oral dose; additive residual error.
data {
  int<lower=1> N; // patients
  int<lower=1> K; // observations
  array[K] int<lower=1, upper=N> id;
  vector[K] time;
  vector[N] dose;
  vector[K] y;
  vector[3] typical_mean; // of the logarithms of CL, V and KA
  vector[3] typical_sd;
  vector[3] omega_scale;
  real sigma_scale;
  int<lower=0, upper=1> centred;
}
parameters {
  vector<offset=typical_mean, multiplier=typical_sd>[3] log_typical;
  vector<lower=0>[3] omega;
  real<lower=0> sigma;
  matrix[N, 3] effect; // of patients; in units of omega where not centred
}
model {
  matrix[N, 3] eta = centred ? effect : diag_post_multiply(effect, omega);
  vector[N] CL = exp(log_typical[1] + eta[ : , 1]);
  vector[N] V = exp(log_typical[2] + eta[ : , 2]);
  vector[N] KA = exp(log_typical[3] + eta[ : , 3]);
  vector[N] k = CL ./ V;
  vector[N] scale = dose .* KA ./ (V .* (KA - k));
  log_typical ~ normal(typical_mean, typical_sd);
  omega ~ normal(0, omega_scale);
  sigma ~ normal(0, sigma_scale);
  if (centred) {
    for (j in 1 : 3) {
      effect[ : , j] ~ normal(0, omega[j]);
    }
  } else {
    to_vector(effect) ~ std_normal();
  }
  y ~ normal(scale[id] .* (exp(-k[id] .* time) - exp(-KA[id] .* time)), sigma);
}
