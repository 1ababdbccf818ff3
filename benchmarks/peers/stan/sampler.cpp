
// A chain of Stan's own NUTS, as it is called by Stan's interfaces; follows bridge.cpp.
#include <algorithm>
#include <ctime>

#include <stan/callbacks/interrupt.hpp>
#include <stan/callbacks/logger.hpp>
#include <stan/callbacks/writer.hpp>
#include <stan/io/empty_var_context.hpp>
#include <stan/services/sample/hmc_nuts_diag_e_adapt.hpp>

namespace {
// Keeps the first parameters of every draw, in memory that outlives this process. `progress` holds
// iterations done, divergences after warm-up, and CPU seconds at warm-up's end and at the last draw.
class Recorder : public stan::callbacks::writer {
 public:
  Recorder(int warmup, double *rows, size_t width, double *progress)
      : warmup_(warmup), rows_(rows), width_(width), progress_(progress) {}
  using stan::callbacks::writer::operator();

  void operator()(const std::vector<double> &state) override {
    // lp__, accept_stat__, stepsize__, treedepth__, n_leapfrog__, divergent__, energy__ go first.
    const double cpu = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
    const auto done = static_cast<int>(progress_[0]);
    if (done < warmup_) {
      progress_[2] = cpu;
    } else {
      std::copy_n(state.begin() + 7, width_, rows_ + (done - warmup_) * width_);
      progress_[1] += state[5];
    }
    progress_[3] = cpu;
    progress_[0] = done + 1;
  }

 private:
  int warmup_;
  double *rows_;
  size_t width_;
  double *progress_;
};
}  // namespace

extern "C" int sample(void *model, unsigned int seed, unsigned int chain, int warmup, int draws,
                      double accept, double *rows, size_t width, double *progress, char *message,
                      size_t size) {
  auto &m = *static_cast<stan::model::model_base *>(model);
  return guarded(message, size, [&] {
    Recorder recorder(warmup, rows, width, progress);
    stan::io::empty_var_context nothing;
    stan::callbacks::interrupt interrupt;
    stan::callbacks::logger logger;
    stan::callbacks::writer unused;
    // The settings are Stan's defaults.
    const int code = stan::services::sample::hmc_nuts_diag_e_adapt(
        m, nothing, seed, chain, 2.0, warmup, draws, 1, true, 0, 1.0, 0.0, 10, accept, 0.05, 0.75,
        10.0, 75, 50, 25, interrupt, logger, unused, recorder, unused);
    if (code != 0) throw std::runtime_error("the sampler found no starting point, or failed");
  });
}
