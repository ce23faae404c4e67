// What a small model with two sizes of experts needs, in figures that are easy to compute with.
#pragma once

#include "profiler/model_needs.h"

namespace hearth::profiler {

// Four layers of sixteen experts, top 2; the experts of every other layer are larger.
inline ModelNeeds small_needs() {
  ModelNeeds needs;
  needs.model = {.architecture = "qwen3moe",
                 .name = "small",
                 .formats = "Q4_K 80 %, Q6_K 20 %",
                 .layers = 4,
                 .experts_per_layer = 16,
                 .experts_used = 2,
                 .metadata = 1,
                 .tensors = 2,
                 .types = 3,
                 .samples = 4};
  needs.context_train = 4096;
  needs.moe_layers = 4;
  needs.process = Bytes(10'000'000);
  needs.dense = Bytes(20'000'000);
  needs.kv.keys.per_tile = Bytes(12'000);
  needs.kv.values.per_tile = Bytes(20'000);
  needs.kv.alignment = Bytes(512);
  needs.scratch = {{256, Bytes(8'000'000)}, {128, Bytes(4'000'000)}, {64, Bytes(2'000'000)}};
  needs.classes = {{Bytes(100'512), Bytes(100'096), Bytes(100'000), 32},
                   {Bytes(150'512), Bytes(150'272), Bytes(150'000), 32}};
  needs.class_of_layer = {0, 1, 0, 1};
  needs.experts_of_layer = {16, 16, 16, 16};
  needs.expert_weights = 14'222'222;  // 4.5 bits each
  needs.dense_read = {{"Q4_K", Bytes(12'000'000)}, {"Q6_K", Bytes(8'000'000)}};
  needs.expert_read = {{"Q4_K", Bytes(800'000)}, {"Q6_K", Bytes(200'000)}};
  needs.serial_read = {{"Q4_K", Bytes(3'000'000)}, {"Q6_K", Bytes(8'000'000)}};
  return needs;
}

}  // namespace hearth::profiler
