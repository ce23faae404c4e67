// Log-probabilities of whole texts as files, in the format of llama-perplexity's
// --save-all-logits, so that either program can judge the other's runs:
//
//   8 bytes  "_logits_"
//   u32      tokens of a chunk (context)
//   i32      tokens of the vocabulary
//   i32      chunks
//   i32      the tokens [chunks][context]
//   rows     [chunks][context - 1 - context / 2]: of the second half of every chunk but for its
//            last token. A row: f32 scale, f32 lowest, u16 codes [vocabulary, made even];
//            log p = scale × code + lowest. What lies 16 and more below the largest is the lowest.
//
// Codes are exact to half a scale, at most 1.3e-4: the floor of a divergence computed from them.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file_replacement.h"
#include "base/ids.h"

namespace hearth::runtime {

struct LogProbsHeader {
  std::uint32_t context = 0;  // tokens of a chunk
  std::uint32_t vocabulary = 0;
  std::vector<TokenId> tokens;  // [chunks][context]

  std::size_t chunks() const { return tokens.size() / context; }
  std::uint32_t first_scored() const { return context / 2; }
  std::uint32_t rows_per_chunk() const { return context - 1 - first_scored(); }
};

// The file has its name when it is whole; until then one of that name stays as it was.
class LogProbsWriter {
 public:
  // All throw Error(kIo).
  LogProbsWriter(const std::string& path, const LogProbsHeader& header);
  void add(std::span<const float> logits);  // in order of position
  void finish();                            // CHECKs that all rows are there

 private:
  FileReplacement file_;
  std::vector<std::uint16_t> row_;
  std::uint32_t vocabulary_;
  std::uint64_t rows_left_;
};

class LogProbsReader {
 public:
  // Throws Error(kNotFound / kIo / kBadFile): the size of the file must be what its header says.
  explicit LogProbsReader(const std::string& path);
  const LogProbsHeader& header() const { return header_; }
  // The next row, [vocabulary]; valid until the next call. Throws Error(kIo).
  std::span<const float> next();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void read(void* to, std::size_t bytes);
  void read_header();

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
  LogProbsHeader header_;
  std::vector<std::uint16_t> row_;
  std::vector<float> values_;
};

}  // namespace hearth::runtime
