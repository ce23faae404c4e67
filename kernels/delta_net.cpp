#include "kernels/delta_net.h"

#include <cmath>

namespace hearth::kernels {

DeltaGates delta_gates(float alpha, float bias, float rate, float beta) {
  const double x = static_cast<double>(alpha) + static_cast<double>(bias);
  // ln(1 + exp(x)) without overflow, and without losing small ones.
  const double softplus = x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  return {.decay = static_cast<float>(std::exp(static_cast<double>(rate) * softplus)),
          .strength = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(beta))))};
}

}  // namespace hearth::kernels
