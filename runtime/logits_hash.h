// A fingerprint of logits: equal logits, bit for bit, give equal hashes (XXH3, 64 bits).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace hearth::runtime {

class LogitsHash {
 public:
  LogitsHash();
  ~LogitsHash();
  LogitsHash(const LogitsHash&) = delete;
  LogitsHash& operator=(const LogitsHash&) = delete;

  void reset();
  void add(std::span<const float> logits);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hearth::runtime
