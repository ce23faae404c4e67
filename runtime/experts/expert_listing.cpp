#include "runtime/experts/expert_listing.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/checked_math.h"
#include "base/error.h"
#include "runtime/weights/weight_table.h"

namespace hearth::runtime {
namespace {

// Tables are as large as layers × the experts of the largest; no known model has 50,000.
constexpr std::uint64_t kMostExperts = 1 << 20;

// "blk.12.ffn_down_exps.weight": 12.
std::optional<std::uint32_t> layer_of(std::string_view name, std::string_view matrix) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::uint32_t layer = 0;
  const auto [end, error] =
      std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  if (error != std::errc() || std::string_view(end, name.data() + name.size()) != matrix)
    return std::nullopt;
  return layer;
}

void check_space(std::uint64_t layers, std::uint64_t experts, std::string_view where) {
  if (layers > 65535 || experts > 65535 || layers * experts > kMostExperts)
    throw_error(ErrorCode::kUnsupported,
                "{}: {} layers of {} experts are more than the {} experts supported",
                printable(where), layers, experts, kMostExperts);
}

std::uint32_t dimension(const io::GgufFile& file, const io::GgufTensor& tensor, std::size_t which) {
  if (tensor.dimensions != 3 || tensor.shape[which] == 0 || tensor.shape[which] > 1u << 24)
    throw_error(ErrorCode::kBadFile,
                "{}: tensor {} has not the shape of experts; convert the "
                "model again",
                file.name(), printable(tensor.name));
  return static_cast<std::uint32_t>(tensor.shape[which]);
}

std::vector<std::uint64_t> sizes_of(const std::vector<std::string>& files) {
  std::vector<std::uint64_t> sizes;
  for (const std::string& path : files) {
    std::error_code error;
    sizes.push_back(std::filesystem::file_size(path, error));
    if (error == std::errc::no_such_file_or_directory)
      throw_error(ErrorCode::kNotFound, "{}: there is no such file; check its name",
                  printable(path));
    if (error)
      throw_error(ErrorCode::kIo, "{}: its size cannot be read: {}", printable(path),
                  error.message());
  }
  return sizes;
}

void check_row(const ListedPart& row, std::size_t number, const std::vector<std::string>& files,
               std::span<const std::uint64_t> sizes) {
  if (row.part.file >= files.size())
    throw_error(ErrorCode::kUsage, "row {} of the table names file {} of {}", number, row.part.file,
                files.size());
  if (row.part.bytes == 0)
    throw_error(ErrorCode::kUsage, "row {} of the table has no bytes", number);
  const auto end = checked_add(row.part.offset, row.part.bytes);
  if (!end || *end > sizes[row.part.file])
    throw_error(ErrorCode::kBadFile,
                "{}: row {} of the table wants {} bytes from byte {} of a file of {}; it is cut "
                "off, or another one",
                printable(files[row.part.file]), number, row.part.bytes, row.part.offset,
                sizes[row.part.file]);
}

}  // namespace

ExpertCatalog find_experts(const io::GgufFile& file) {
  std::uint32_t layers = 0;
  std::uint64_t most_experts = 0;
  for (const io::GgufTensor& tensor : file.tensors())
    if (const auto layer = layer_of(tensor.name, ".ffn_down_exps.weight")) {
      most_experts = std::max<std::uint64_t>(most_experts, dimension(file, tensor, 2));
      check_space(std::uint64_t{*layer} + 1, most_experts, file.name());
      layers = std::max(layers, *layer + 1);
    }
  if (layers == 0)
    throw_error(ErrorCode::kUnsupported,
                "{}: there are no experts (blk.N.ffn_down_exps.weight) in the file", file.name());
  check_space(layers, most_experts, file.name());
  ExpertCatalog catalog(layers);
  const WeightTable weights(file);
  for (const io::GgufTensor& tensor : file.tensors())
    if (const auto layer = layer_of(tensor.name, ".ffn_down_exps.weight"))
      catalog.add_layer(weights, static_cast<LayerIndex>(*layer), dimension(file, tensor, 2),
                        dimension(file, tensor, 1), dimension(file, tensor, 0));
  return catalog;
}

ExpertCatalog list_experts(const std::vector<std::string>& files,
                           std::span<const ListedPart> rows) {
  if (rows.empty()) throw_error(ErrorCode::kUsage, "the table has no rows; list the experts");
  const std::vector<std::uint64_t> sizes = sizes_of(files);
  std::uint32_t layers = 0, experts = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    check_row(rows[i], i, files, sizes);
    check_space(std::uint64_t{rows[i].layer} + 1, std::uint64_t{rows[i].expert} + 1, "table");
    layers = std::max(layers, rows[i].layer + 1);
    experts = std::max(experts, rows[i].expert + 1);
  }
  check_space(layers, experts, "table");

  std::vector<ListedPart> sorted(rows.begin(), rows.end());
  const auto expert_of = [](const ListedPart& row) { return std::pair(row.layer, row.expert); };
  std::ranges::stable_sort(sorted, {}, expert_of);
  ExpertCatalog catalog(layers);
  std::vector<ExpertPart> parts;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    parts.push_back(sorted[i].part);
    if (i + 1 < sorted.size() && expert_of(sorted[i + 1]) == expert_of(sorted[i])) continue;
    if (parts.size() > kMaxExpertParts)
      throw_error(ErrorCode::kUsage, "expert {} of layer {} has {} rows in the table, more than {}",
                  sorted[i].expert, sorted[i].layer, parts.size(), kMaxExpertParts);
    catalog.add_expert(
        {static_cast<LayerIndex>(sorted[i].layer), static_cast<std::uint16_t>(sorted[i].expert)},
        parts);
    parts.clear();
  }
  return catalog;
}

std::uint64_t fingerprint(const ExpertCatalog& catalog) {
  std::vector<std::uint64_t> numbers;
  const ExpertSpace space = catalog.space();
  for (std::uint32_t flat = 0; flat < space.size(); ++flat) {
    const ExpertId id = space.id(flat);
    if (!catalog.has(id)) continue;
    const LayerExperts& layer = catalog.layer(id.layer);
    numbers.push_back(std::uint64_t{id.layer} << 32 | id.index);
    for (std::uint32_t i = 0; i < layer.parts(id.index); ++i)
      numbers.push_back(layer.part(id.index, i).bytes);
  }
  return XXH3_64bits(numbers.data(), numbers.size() * sizeof(std::uint64_t));
}

}  // namespace hearth::runtime
