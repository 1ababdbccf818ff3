// Two compartments, intravenous, parallel linear and Michaelis-Menten elimination, solved piece by
// piece from event to event.
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
  int<lower=1> E; // pieces of all patients, at whose starts a bolus may be given
  array[N + 1] int<lower=1> first; // first piece of each patient
  array[E] int<lower=0, upper=K> observation; // the observation at the end of the piece, 0 if none
  array[E] real start;
  array[E] real end;
  array[E] real bolus;
  array[E] real infusion;
  vector[K] log_y;
  real sigma;
  real tolerance;
  int<lower=0, upper=1> stiff;
}
parameters {
  vector[N] CL;
  vector[N] V1;
  vector[N] Q;
  vector[N] V2;
  vector[N] VMAX;
  vector[N] KM;
}
transformed parameters {
  vector[K] concentration;
  for (i in 1 : N) {
    vector[2] a = [0, 0]';
    for (e in first[i] : first[i + 1] - 1) {
      a[1] += bolus[e];
      if (stiff) {
        a = ode_bdf_tol(rates, a, start[e], {end[e]}, tolerance, 1e-3 * tolerance, 100000,
                        CL[i], V1[i], Q[i], V2[i], VMAX[i], KM[i], infusion[e])[1];
      } else {
        a = ode_rk45_tol(rates, a, start[e], {end[e]}, tolerance, 1e-3 * tolerance, 100000,
                         CL[i], V1[i], Q[i], V2[i], VMAX[i], KM[i], infusion[e])[1];
      }
      if (observation[e] > 0) {
        concentration[observation[e]] = a[1] / V1[i];
      }
    }
  }
}
model {
  log_y ~ normal(log(concentration), sigma);
}
