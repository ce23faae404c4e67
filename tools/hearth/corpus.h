// Texts to be run through a model, in chunks that each begin with an empty context.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/tokenizer/tokenizer.h"

namespace hearth::tools {

class Corpus {
 public:
  struct Limits {
    std::uint32_t chunk = 0;                   // tokens of a chunk, at least 2
    std::optional<std::uint64_t> most_tokens;  // of all texts together
  };

  // Reads and encodes the files in order; what is beyond the limit is not read. A chunk is of one
  // file. One token alone, at the end of a file, makes no chunk. Throws Error(kNotFound / kIo) for
  // files that cannot be read and Error(kBadInput) where nothing is left.
  Corpus(const std::vector<std::string>& files, const runtime::Tokenizer& tokenizer,
         const Limits& limits);

  std::size_t chunks() const { return ends_.size(); }
  // With the token in front that the model begins texts with.
  std::span<const TokenId> chunk(std::size_t index) const;
  std::uint64_t tokens() const { return tokens_.size(); }
  std::uint64_t tokens_before(std::size_t chunk) const { return chunk == 0 ? 0 : ends_[chunk - 1]; }
  // Of the tokens and how they are cut.
  std::uint64_t fingerprint() const;

 private:
  std::uint64_t room(const Limits& limits) const;  // for so many tokens
  void add_file(const std::string& path, const runtime::Tokenizer& tokenizer, const Limits& limits);
  void cut(std::span<const TokenId> text, const Limits& limits);

  std::optional<TokenId> bos_;
  std::vector<TokenId> tokens_;      // of all chunks
  std::vector<std::uint64_t> ends_;  // per chunk
};

}  // namespace hearth::tools
