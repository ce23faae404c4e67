// Shapes of public models, from configs/shapes: the metadata of a file, and which of the tensors
// that an architecture may have or not it has. All else follows from what the loader asks for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "io/gguf.h"

namespace hearth::tools {

struct SynthShape {
  std::string name;
  std::string architecture;
  std::string mix;               // of weight formats, as the model is usually met
  std::uint32_t vocabulary = 0;  // tokens
  std::uint32_t period = 1;      // layers that show the pattern of all
  // What the model's authors, or those who quantized it, say of the whole one.
  std::optional<double> published_parameters;
  std::optional<Bytes> published_file;

  // Keys without "<architecture>.".
  io::GgufMetadata metadata;
  // Arrays that stand for a value of each layer, repeated.
  io::GgufMetadata layer_values;
  // Names without "blk.<layer>.", and of a period of layers whether each has it.
  std::map<std::string, std::vector<bool>, std::less<>> tensors;

  std::uint32_t count(std::string_view key) const;  // 0 where there is no such key
  std::uint32_t layers() const { return count("block_count"); }
  std::uint32_t fewest_layers() const;  // that show the pattern, one with experts among them
  // Of fewer layers the first ones; of leading dense ones at most all but the last.
  void set_layers(std::uint32_t layers);
  void set_expert_ff(std::uint32_t width);
  // Sets a key that the shape has. Throws Error(kUsage), naming `flag`, where it has no effect.
  void set(std::string_view key, std::uint32_t value, std::string_view flag);

  // The keys of a file, those of the tokenizer left out.
  io::GgufMetadata file_metadata() const;
};

std::vector<std::string> synth_shape_names();   // sorted
SynthShape synth_shape(std::string_view name);  // one of the above
// Throws Error(kBadFile). `name` appears in messages, and names the shape.
SynthShape parse_synth_shape(std::string_view text, const std::string& name);

}  // namespace hearth::tools
