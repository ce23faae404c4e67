// What a model's metadata says about its shape, in the same terms for every architecture.
#pragma once

#include <cstdint>
#include <string>

namespace hearth::runtime {

struct ModelConfig {
  std::string architecture;  // general.architecture
  std::string name;          // general.name, or empty
  std::uint32_t layers = 0;
  std::uint32_t embedding = 0;
  std::uint32_t vocabulary = 0;
  std::uint32_t context_train = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t key_dim = 0;    // per head
  std::uint32_t value_dim = 0;  // per head
  float rms_epsilon = 0;
  std::uint32_t rope_dims = 0;
  float rope_base = 0;
  std::uint32_t experts = 0;  // per MoE layer
  std::uint32_t experts_used = 0;
  std::uint32_t expert_ff = 0;  // width of an expert's hidden layer
};

}  // namespace hearth::runtime
