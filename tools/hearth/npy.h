// NumPy array files of float32 rows (format: numpy.lib.format, version 1.0), one row at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "base/file_replacement.h"

namespace hearth::tools {

namespace detail {
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
}  // namespace detail

struct NpyShape {
  std::uint64_t rows = 0, columns = 0;
};

// The file has its name from finish() on; until then one of that name stays as it was.
class NpyWriter {
 public:
  NpyWriter(const std::string& path, NpyShape shape);  // all throw Error(kIo)

  void append(std::span<const float> row);  // `columns` values
  void finish();                            // CHECKs that all rows are there

 private:
  FileReplacement file_;
  const NpyShape shape_;
  std::uint64_t rows_ = 0;
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
