#include "profiler/model_identity_toml.h"

#include "base/error.h"

namespace hearth::profiler {
namespace {

// Layers and experts are numbered with 16 bits, and all of them together with 32.
constexpr std::uint64_t kMost = 65535;

}  // namespace

std::string to_toml(const ModelIdentity& model) {
  return fmt::format(
      "[model]\n"
      "architecture = {}\n"
      "name = {}\n"
      "formats = {}\n"
      "layers = {}\n"
      "experts_per_layer = {}\n"
      "experts_used = {}\n"
      "metadata = {}\n"
      "tensors = {}\n"
      "types = {}\n"
      "samples = {}\n",
      quoted(model.architecture), quoted(model.name), quoted(model.formats), model.layers,
      model.experts_per_layer, model.experts_used, hex_text(model.metadata),
      hex_text(model.tensors), hex_text(model.types), hex_text(model.samples));
}

ModelIdentity read_model_identity(TableReader table) {
  const auto count = [&](const char* key) {
    return static_cast<std::uint32_t>(table.count(key, {0, kMost}));
  };
  ModelIdentity model;
  model.architecture = table.string("architecture");
  model.name = table.string("name");
  model.formats = table.string("formats");
  model.layers = count("layers");
  model.experts_per_layer = count("experts_per_layer");
  model.experts_used = count("experts_used");
  model.metadata = table.hex("metadata");
  model.tensors = table.hex("tensors");
  model.types = table.hex("types");
  model.samples = table.hex("samples");
  table.finish();
  if (model.experts_used > model.experts_per_layer)
    table.fail("experts_used", "exceeds experts_per_layer");
  return model;
}

}  // namespace hearth::profiler
