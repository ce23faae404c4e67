#include "tools/hearth/npy.h"

#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/descriptor.h"
#include "base/error.h"

namespace hearth::tools {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are written as they lie in memory");

constexpr std::string_view kMagic{"\x93NUMPY", 6};
constexpr std::size_t kPreamble = 10;      // magic, two bytes of version, two of header length
constexpr std::size_t kHeaderBytes = 128;  // preamble included; holds any pair of 64-bit numbers

std::string header_text(NpyShape shape) {
  std::string header(kMagic);
  const std::size_t length = kHeaderBytes - kPreamble;
  header += {'\x01', '\x00', static_cast<char>(length & 0xff), static_cast<char>(length >> 8)};
  header += fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
                        shape.rows, shape.columns);
  CHECK_LT(header.size(), kHeaderBytes);
  header.resize(kHeaderBytes - 1, ' ');
  return header + '\n';
}

// What follows `'key':` in the header's Python dictionary.
std::string_view value_of(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(fmt::format("'{}':", key));
  if (at == header.npos) return {};
  header.remove_prefix(at + key.size() + 3);
  while (header.starts_with(' ')) header.remove_prefix(1);
  return header;
}

// "(12, 34)" → 12, 34; false for any other number of dimensions.
bool parse_shape(std::string_view text, std::uint64_t& rows, std::uint64_t& columns) {
  const char* const end = text.data() + text.size();
  if (!text.starts_with('(')) return false;
  const auto [after_rows, error] = std::from_chars(text.data() + 1, end, rows);
  if (error != std::errc() || std::string_view(after_rows, end).substr(0, 2) != ", ") return false;
  const auto [after_columns, error2] = std::from_chars(after_rows + 2, end, columns);
  return error2 == std::errc() && after_columns != end && *after_columns == ')';
}

}  // namespace

NpyWriter::NpyWriter(const std::string& path, NpyShape shape) : file_(path), shape_(shape) {
  const std::string header = header_text(shape);
  file_.write(std::as_bytes(std::span(header)));
}

void NpyWriter::append(std::span<const float> row) {
  CHECK_EQ(row.size(), shape_.columns);
  file_.write(std::as_bytes(row));
  ++rows_;
}

void NpyWriter::finish() {
  CHECK_EQ(rows_, shape_.rows);
  file_.commit();
}

NpyReader::NpyReader(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "rb")) {
  if (!file_)
    throw_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}", path_,
                std::strerror(errno));
  read_header();
}

void NpyReader::read_header() {
  unsigned char preamble[kPreamble];
  if (std::fread(preamble, 1, kPreamble, file_.get()) != kPreamble ||
      std::memcmp(preamble, kMagic.data(), kMagic.size()) != 0)
    throw_error(ErrorCode::kBadFile, "{}: not a .npy file", path_);
  if (preamble[6] != 1)
    throw_error(ErrorCode::kUnsupported, "{}: .npy version {}; save it with version 1.0", path_,
                preamble[6]);
  std::string header(preamble[8] + 256u * preamble[9], '\0');
  if (std::fread(header.data(), 1, header.size(), file_.get()) != header.size())
    throw_error(ErrorCode::kBadFile, "{}: truncated in its header", path_);
  if (!value_of(header, "descr").starts_with("'<f4'") ||
      !value_of(header, "fortran_order").starts_with("False") ||
      !parse_shape(value_of(header, "shape"), rows_, columns_))
    throw_error(ErrorCode::kUnsupported,
                "{}: not a two-dimensional float32 array in C order but {}; convert it with numpy",
                path_, printable(header));
  const long data = std::ftell(file_.get());
  std::fseek(file_.get(), 0, SEEK_END);
  const std::uint64_t present = static_cast<std::uint64_t>(std::ftell(file_.get()) - data);
  std::fseek(file_.get(), data, SEEK_SET);
  const auto values = checked_multiply(rows_, columns_);
  const auto wanted = values ? checked_multiply(*values, sizeof(float)) : std::nullopt;
  if (wanted != present)
    throw_error(ErrorCode::kBadFile, "{}: shape ({}, {}) but {} bytes of data; write it again",
                path_, rows_, columns_, present);
}

void NpyReader::read_row(std::span<float> row) {
  CHECK_EQ(row.size(), columns_);
  CHECK_LT(next_row_, rows_);
  if (std::fread(row.data(), sizeof(float), row.size(), file_.get()) != row.size())
    fail_on_file(path_, "read", errno);
  ++next_row_;
}

}  // namespace hearth::tools
