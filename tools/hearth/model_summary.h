// What a model file holds, from its metadata and directory of tensors alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "io/gguf.h"

namespace hearth::tools {

// Opens a GGUF file with the block shapes of all known weight formats.
io::GgufFile open_model_file(const std::string& path);

// "Q4_K", or "type 16" for a format that is not supported.
std::string format_name(std::uint32_t gguf_type);

struct FormatUse {
  std::uint64_t tensors = 0;
  std::uint64_t values = 0;
  std::optional<Bytes> bytes = Bytes(0);  // empty for a format that is not supported
};

struct ModelSummary {
  std::string architecture;
  std::string name;  // may be empty
  std::uint64_t parameters = 0;
  std::uint64_t active_parameters = 0;  // that one token uses: all but the experts not chosen
  std::map<std::string, FormatUse> formats;

  Bytes dense_bytes;
  Bytes expert_bytes;
  std::uint64_t layers = 0;
  std::uint64_t moe_layers = 0;
  std::uint64_t experts_per_layer = 0;
  std::uint64_t experts_used = 0;
  // Bytes of one expert (gate, up and down together) → number of layers with such experts.
  // Layers with a format that is not supported are left out.
  std::map<Bytes, std::uint64_t> expert_sizes;

  // Of keys and values in f16 for one token, all layers, before any sliding window.
  Bytes kv_bytes_per_token;
  std::uint64_t context = 0;              // trained for
  std::uint64_t embedding = 0;            // width of the residual stream
  std::uint64_t heads = 0, kv_heads = 0;  // of the first layer
  std::string tokenizer;                  // "gpt2 (qwen2)"
  std::uint64_t vocabulary = 0;           // tokens
  bool has_chat_template = false;
};

ModelSummary summarize(const io::GgufFile& file);

// "qwen3moe 47.5 M Q4_K": the format is that of most bytes.
std::string model_type(const ModelSummary& summary);

}  // namespace hearth::tools
