#include <fmt/format.h>

#include <memory>

#include "profiler/table_toml.h"
#include "tools/hearth/synth_shape.h"

namespace hearth::tools {
namespace {

using profiler::TableReader;

constexpr TableReader::Range kCount{1, 1 << 24};

template <typename T>
std::shared_ptr<io::GgufArray> gguf_array(const toml::array& array) {
  std::vector<T> values;
  for (const toml::node& element : array)
    if (const auto value =
            element.value_exact<std::conditional_t<std::is_same_v<T, bool>, bool, std::int64_t>>())
      values.push_back(static_cast<T>(*value));
  if (values.size() != array.size() || values.empty()) return nullptr;
  return std::make_shared<io::GgufArray>(io::GgufArray{std::move(values)});
}

// Counts, reals, flags, texts, and arrays of counts or of flags; empty for anything else.
std::optional<io::GgufValue> gguf_value(const toml::node& node) {
  if (const auto* number = node.as_integer(); number != nullptr && number->get() >= 0)
    return static_cast<std::uint64_t>(number->get());
  if (const auto* real = node.as_floating_point()) return real->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* array = node.as_array()) {
    if (auto counts = gguf_array<std::uint64_t>(*array)) return counts;
    if (auto flags = gguf_array<bool>(*array)) return flags;
  }
  return std::nullopt;
}

// Every value of a table and of those in it, by its dotted key.
template <typename Visit>
void visit_values(const toml::table& table, const std::string& prefix, const Visit& visit) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* const inner = node.as_table())
      visit_values(*inner, name + ".", visit);
    else
      visit(name, node);
  }
}

// The values of the table `key`, which may be absent; `take` says whether it could use one.
template <typename Take>
void read_values(TableReader& reader, const toml::table& root, std::string_view key,
                 const Take& take) {
  if (!reader.has(key)) return;
  reader.table(key);
  visit_values(*root.get_as<toml::table>(key), "", [&](const std::string& name, const auto& node) {
    const std::optional<io::GgufValue> value = gguf_value(node);
    if (!value || !take(name, *value))
      reader.fail(key, fmt::format("has a value of another type than expected: {}", name));
  });
}

void read_published(TableReader published, SynthShape& shape) {
  if (published.has("parameters"))
    shape.published_parameters = published.real("parameters", {1, 1e15});
  if (published.has("file_gb"))
    shape.published_file =
        Bytes(static_cast<std::uint64_t>(published.real("file_gb", {1e-3, 1e5}) * 1e9));
  published.finish();
}

bool is_array(const io::GgufValue& value) {
  return std::holds_alternative<std::shared_ptr<io::GgufArray>>(value);
}

// true for all layers, or a period of flags.
std::optional<std::vector<bool>> layers_with(const io::GgufValue& value) {
  if (const bool* const all = std::get_if<bool>(&value)) return std::vector<bool>{*all};
  if (!is_array(value)) return std::nullopt;
  const auto* const flags =
      std::get_if<std::vector<bool>>(&std::get<std::shared_ptr<io::GgufArray>>(value)->values);
  return flags != nullptr ? std::optional(*flags) : std::nullopt;
}

}  // namespace

SynthShape parse_synth_shape(std::string_view text, const std::string& name) {
  const toml::table root = profiler::parse_toml(text, name);
  TableReader reader(root, name);
  SynthShape shape;
  shape.name = name;
  shape.architecture = reader.string("architecture");
  shape.mix = reader.string("mix");
  shape.vocabulary = static_cast<std::uint32_t>(reader.count("vocabulary", kCount));
  if (reader.has("period"))
    shape.period = static_cast<std::uint32_t>(reader.count("period", {1, 1024}));
  if (reader.has("published")) read_published(reader.table("published"), shape);
  read_values(reader, root, "metadata", [&](const std::string& key, const io::GgufValue& value) {
    shape.metadata.set(key, value);
    return true;
  });
  read_values(reader, root, "layers", [&](const std::string& key, const io::GgufValue& value) {
    shape.layer_values.set(key, value);
    return is_array(value);
  });
  read_values(reader, root, "tensors", [&](const std::string& key, const io::GgufValue& value) {
    const auto layers = layers_with(value);
    if (layers) shape.tensors.emplace(key, *layers);
    return layers.has_value();
  });
  reader.finish();
  return shape;
}

}  // namespace hearth::tools
