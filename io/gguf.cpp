#include "io/gguf.h"

#include "base/error.h"
#include "io/byte_source.h"
#include "io/gguf_parser.h"
#include "io/gguf_split.h"

namespace hearth::io {

GgufFile GgufFile::open(const std::string& path, BlockShapeOf block_shape_of, Data data) {
  GgufFile file;
  GgufPart first = parse_gguf_part(*open_file_source(path), block_shape_of, data);
  const GgufSplit split = GgufSplit::of_first_part(path, first.metadata);
  file.add(path, std::move(first));
  for (std::uint32_t number = 1; number < split.count; ++number) {
    const std::string part_path = split.path(number);
    GgufPart part = parse_gguf_part(*split.open(number), block_shape_of, data);
    split.check_later_part(number, part.metadata);
    file.add(part_path, std::move(part));
  }
  split.check_tensor_count(file.tensors_.size());
  return file;
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, const std::string& name,
                         BlockShapeOf block_shape_of) {
  GgufPart part = parse_gguf_part(*memory_source(bytes, name), block_shape_of, Data::kPresent);
  if (split_count(part.metadata) > 1)
    throw_error(ErrorCode::kUnsupported, "{}: one part of a split model; open it as a file", name);
  GgufFile file;
  file.add(name, std::move(part));
  return file;
}

GgufFile GgufFile::unwritten(GgufMetadata metadata, const std::string& name) {
  GgufPart part;
  part.metadata = std::move(metadata);
  part.has_data = false;
  GgufFile file;
  file.add(name, std::move(part));
  return file;
}

void GgufFile::add(const std::string& path, GgufPart part) {
  const auto file = static_cast<std::uint32_t>(paths_.size());
  if (file == 0) {
    version_ = part.version;
    metadata_ = std::move(part.metadata);
  }
  paths_.push_back(path);
  part_bytes_.push_back(part.file_bytes);
  has_data_ = has_data_ && part.has_data;
  for (GgufTensor& tensor : part.tensors) {
    if (!tensor_index_.emplace(tensor.name, tensors_.size()).second)
      throw_error(ErrorCode::kBadFile,
                  "{}: tensor '{}' is there twice; the file is damaged, download it again", path,
                  printable(tensor.name));
    tensor.file = file;
    tensors_.push_back(std::move(tensor));
  }
}

Bytes GgufFile::file_bytes() const {
  Bytes total;
  for (const Bytes part : part_bytes_) total += part;
  return total;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace hearth::io
