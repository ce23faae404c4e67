// A loaded model: shape, weights and blocks. Built from a file's directory without reading weights,
// so that every byte is known before any is allocated. Immutable afterwards, shared by sessions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/gguf.h"
#include "runtime/blocks/block.h"
#include "runtime/experts/expert_catalog.h"
#include "runtime/model_config.h"
#include "runtime/rotary.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {

struct Layer {
  std::vector<std::unique_ptr<Block>> blocks;
};

struct Model {
  explicit Model(const io::GgufFile& file, TensorSource* source = nullptr)
      : weights(file, source) {}

  ModelConfig config;
  WeightTable weights;
  ExpertCatalog experts{0};

  const kernels::WeightMatrix* token_embedding = nullptr;  // [vocabulary][embedding]
  float embedding_scale = 1;
  std::vector<RotaryTable> rotary;
  std::vector<Layer> layers;
  WeightVector output_norm;
  const kernels::WeightMatrix* output = nullptr;  // [vocabulary][embedding]; may be the embedding
  float logit_softcap = 0;                        // 0: none
  std::vector<std::string> notes;                 // what of the file is not used, a sentence each

  std::vector<KvLayer> kv_layers() const;
  std::vector<RecurrentLayer> recurrent_layers() const;
  ScratchShape scratch_shape() const;    // without rows, threads and logit rows
  Bytes dense_bytes_per_token() const;   // read to decode one token; of the embedding one row
  Bytes expert_bytes_per_token() const;  // of the experts one token is routed to
};

// Finds the architecture in the registry and lets it build the model.
// Throws Error(kUnsupported) for an unknown architecture, naming the known ones.
// With a source, tensors are asked of it instead of the file, and nothing can be loaded.
std::unique_ptr<Model> build_model(const io::GgufFile& file, TensorSource* source = nullptr);

}  // namespace hearth::runtime
