// Seeded random numbers: the same sequence on every platform and compiler.
#pragma once

#include <cmath>
#include <cstdint>

namespace hearth {

// splitmix64 (Steele, Lea, Flood 2014): every seed, also 0, gives a full-period stream.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  // Uniform in [0, bound), bound > 0. The bias of at most bound / 2^64 does not matter here.
  std::uint64_t below(std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;  // not in ISO C++, in every compiler we use
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
  }

  // Uniform in [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  // Normal, mean 0, standard deviation 1 (Box-Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

  std::uint64_t state() const { return state_; }  // a seed that continues from here

 private:
  std::uint64_t state_;
};

}  // namespace hearth
