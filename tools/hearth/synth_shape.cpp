#include "tools/hearth/synth_shape.h"

#include <algorithm>
#include <memory>

#include "base/embedded_file.h"
#include "base/error.h"

namespace hearth {

std::span<const EmbeddedFile> synth_shape_files();  // of configs/shapes

namespace tools {
namespace {

constexpr std::string_view kExtension = ".toml";
constexpr std::string_view kLayers = "block_count", kDenseLayers = "leading_dense_block_count",
                           kExpertWidth = "expert_feed_forward_length",
                           kWidth = "feed_forward_length";

// As many values as there are layers, of the same type.
io::GgufValue repeated(const io::GgufValue& period, std::uint32_t layers) {
  const io::GgufArray& array = *std::get<std::shared_ptr<io::GgufArray>>(period);
  return std::visit(
      [&](const auto& values) -> io::GgufValue {
        std::decay_t<decltype(values)> all;
        for (std::uint32_t layer = 0; layer < layers; ++layer)
          all.push_back(values[layer % values.size()]);
        return std::make_shared<io::GgufArray>(io::GgufArray{std::move(all)});
      },
      array.values);
}

}  // namespace

std::uint32_t SynthShape::count(std::string_view key) const {
  return static_cast<std::uint32_t>(metadata.unsigned_integer(key).value_or(0));
}

std::uint32_t SynthShape::fewest_layers() const {
  const std::uint32_t one_of_each = count(kDenseLayers) > 0 ? 2 : 1;
  return std::min(layers(), std::max(period, one_of_each));
}

void SynthShape::set_layers(std::uint32_t layers) {
  if (layers == 0 || layers > 1024)
    throw_error(ErrorCode::kUsage, "--layers is not between 1 and 1024");
  metadata.set(std::string(kLayers), std::uint64_t{layers});
  if (const std::uint32_t dense = count(kDenseLayers); dense > 0)
    metadata.set(std::string(kDenseLayers), std::uint64_t{std::min(dense, layers - 1)});
}

// Some architectures have the width of their experts under the other key, or under both.
void SynthShape::set_expert_ff(std::uint32_t width) {
  const std::uint32_t before = count(kExpertWidth);
  if (before > 0) metadata.set(std::string(kExpertWidth), std::uint64_t{width});
  if (before == 0 || before == count(kWidth))
    metadata.set(std::string(kWidth), std::uint64_t{width});
}

void SynthShape::set(std::string_view key, std::uint32_t value, std::string_view flag) {
  if (!metadata.has(key))
    throw_error(ErrorCode::kUsage,
                "{} has no effect on {}, whose layers differ in it; leave it out", flag, name);
  metadata.set(std::string(key), std::uint64_t{value});
}

io::GgufMetadata SynthShape::file_metadata() const {
  io::GgufMetadata file;
  const auto key = [&](const std::string& suffix) { return architecture + "." + suffix; };
  file.set("general.architecture", architecture);
  file.set("general.name", fmt::format("synthetic {} of {} layers", name, layers()));
  file.set("general.quantization_version", std::uint64_t{2});
  for (const auto& [suffix, value] : metadata.entries()) file.set(key(suffix), value);
  for (const auto& [suffix, value] : layer_values.entries())
    file.set(key(suffix), repeated(value, layers()));
  file.set(key("vocab_size"), std::uint64_t{vocabulary});
  return file;
}

std::vector<std::string> synth_shape_names() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : synth_shape_files())
    names.emplace_back(file.name.substr(0, file.name.size() - kExtension.size()));
  std::ranges::sort(names);
  return names;
}

SynthShape synth_shape(std::string_view name) {
  const std::string text(name);
  return parse_synth_shape(embedded_content(synth_shape_files(), text + std::string(kExtension)),
                           text);
}

}  // namespace tools
}  // namespace hearth
