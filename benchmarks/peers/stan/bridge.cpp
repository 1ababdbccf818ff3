// A C interface to one Stan model: its density, its gradient and what it computes on the way.
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <stan/io/json/json_data.hpp>
#include <stan/model/log_prob_grad.hpp>
#include <stan/model/model_base.hpp>

stan::model::model_base &new_model(stan::io::var_context &data, unsigned int seed,
                                   std::ostream *messages);

namespace {
template <typename Work>
int guarded(char *message, size_t size, Work work) {
  try {
    work();
    return 0;
  } catch (const std::exception &error) {
    std::strncpy(message, error.what(), size - 1);
    message[size - 1] = '\0';
    return 1;
  }
}
}  // namespace

extern "C" {

void *make_model(const char *path, char *message, size_t size) {
  void *made = nullptr;
  guarded(message, size, [&] {
    std::ifstream file(path);
    stan::json::json_data data(file);
    made = &new_model(data, 1, &std::cerr);
  });
  return made;
}

void free_model(void *model) { delete static_cast<stan::model::model_base *>(model); }

// The density without its constants, and its gradient, `times` times over.
int density(void *model, const double *theta, int times, double *value, double *gradient,
            char *message, size_t size) {
  auto &m = *static_cast<stan::model::model_base *>(model);
  return guarded(message, size, [&] {
    Eigen::VectorXd at = Eigen::Map<const Eigen::VectorXd>(theta, m.num_params_r());
    Eigen::VectorXd slope(at.size());
    for (int k = 0; k < times; ++k) {
      *value = stan::model::log_prob_grad<true, false>(m, at, slope, &std::cerr);
    }
    Eigen::Map<Eigen::VectorXd>(gradient, slope.size()) = slope;
  });
}

// Parameters and transformed parameters, `count` numbers in the model's order.
int transformed(void *model, const double *theta, size_t count, double *found, char *message,
                size_t size) {
  auto &m = *static_cast<stan::model::model_base *>(model);
  return guarded(message, size, [&] {
    boost::random::mixmax unused(0);
    std::vector<double> at(theta, theta + m.num_params_r()), all;
    std::vector<int> none;
    m.write_array(unused, at, none, all, true, false, &std::cerr);
    if (all.size() != count) throw std::runtime_error("another number of values than expected");
    std::memcpy(found, all.data(), count * sizeof(double));
  });
}
}
