// NumPy array files of float32 rows (format: numpy.lib.format, version 1.0), one row at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

namespace hearth::tools {

namespace detail {
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
}  // namespace detail

// Writes an array of shape [rows][columns], where the number of rows is known at the end. The file
// appears under its name in finish(); until then it is PATH.tmp, which the destructor removes.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, std::uint64_t columns);  // throws Error(kIo)
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  void append(std::span<const float> row);  // `columns` values
  void finish();

 private:
  std::string path_, temporary_;
  std::unique_ptr<std::FILE, detail::CloseFile> file_;
  std::uint64_t rows_ = 0, columns_;
};

// Reads a two-dimensional little-endian float32 array in C order; throws Error(kBadFile) or
// Error(kUnsupported) for anything else, also for a file of another length than its shape says.
class NpyReader {
 public:
  explicit NpyReader(const std::string& path);

  std::uint64_t rows() const { return rows_; }
  std::uint64_t columns() const { return columns_; }
  void read_row(std::span<float> row);  // the next one; `columns` values; at most rows() times

 private:
  void read_header();

  std::string path_;
  std::unique_ptr<std::FILE, detail::CloseFile> file_;
  std::uint64_t rows_ = 0, columns_ = 0, next_row_ = 0;
};

}  // namespace hearth::tools
