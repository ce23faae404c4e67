#include "runtime/block_experts.h"

#include <charconv>
#include <string_view>

#include "base/error.h"
#include "runtime/metadata_reader.h"

namespace hearth::runtime {
namespace {

constexpr std::string_view kPrefix = "blk.";

bool holds_experts(const io::GgufTensor& tensor) {
  return tensor.dimensions == 3 && tensor.name.starts_with(kPrefix) &&
         tensor.name.ends_with("_exps.weight");
}

// "blk.12.ffn_up_exps.weight" → 12; empty where no number of a block stands there.
std::optional<std::uint32_t> block_of(std::string_view name) {
  name.remove_prefix(kPrefix.size());
  std::uint32_t block = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), block);
  if (error != std::errc() || *end != '.') return std::nullopt;
  return block;
}

void add(BlockExperts& block, const io::GgufTensor& tensor, const io::GgufFile& file) {
  const std::uint64_t experts = tensor.shape[2];
  if (experts == 0 || experts > 0xffff || (block.count != 0 && block.count != experts))
    throw_error(ErrorCode::kBadFile,
                "{}: {} has {} experts, which is not what the block has; the file is damaged",
                file.name(), printable(tensor.name), experts);
  block.count = static_cast<std::uint32_t>(experts);
  if (tensor.size && block.bytes)
    *block.bytes += *tensor.size;
  else
    block.bytes.reset();
}

}  // namespace

std::vector<BlockExperts> experts_of_blocks(const io::GgufFile& file) {
  const MetadataReader metadata(file);
  const std::uint32_t all = metadata.required_count("block_count", {1, 0xffff});
  const std::uint32_t predicting = metadata.count_or("nextn_predict_layers", {0, all}, 0);
  std::vector<BlockExperts> blocks(all);
  for (const io::GgufTensor& tensor : file.tensors()) {
    if (!holds_experts(tensor)) continue;
    const std::optional<std::uint32_t> block = block_of(tensor.name);
    if (!block || *block >= all)
      throw_error(ErrorCode::kBadFile,
                  "{}: {} is of no block, of which there are {}; the file is damaged", file.name(),
                  printable(tensor.name), all);
    if (*block < all - predicting) add(blocks[*block], tensor, file);
  }
  return blocks;
}

std::vector<std::uint32_t> expert_counts(const std::vector<BlockExperts>& blocks) {
  std::vector<std::uint32_t> counts;
  for (const BlockExperts& block : blocks) counts.push_back(block.count);
  return counts;
}

}  // namespace hearth::runtime
