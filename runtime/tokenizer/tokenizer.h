// Text ↔ tokens, as the metadata of a model defines it.
//
// Immutable after construction and safe to share between threads. Bytes in give the same bytes
// back: invalid UTF-8 is encoded byte by byte, never dropped. Only what a vocabulary cannot spell
// changes: a byte without a token becomes U+FFFD (byte-level BPE), or the unknown token
// (SentencePiece).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "io/gguf.h"

namespace hearth::runtime {

struct EncodeOptions {
  bool add_special = true;    // BOS (and EOS) where the model asks for it
  bool parse_special = true;  // control tokens written out in the text become those tokens
  // One for each byte of the text, or empty: where it is not 0, no control token is looked for.
  std::string_view plain = {};
};

class Tokenizer {
 public:
  // Throws Error(kUnsupported) naming an unknown tokenizer.ggml.model or tokenizer.ggml.pre, and
  // Error(kBadFile) for inconsistent arrays or ids outside the vocabulary.
  static std::unique_ptr<Tokenizer> from_metadata(const io::GgufMetadata& metadata);
  virtual ~Tokenizer() = default;

  // Takes time linear in the text but for a logarithm, also for one run of a single character, and
  // at most about 40 bytes of memory for each byte of text while it runs. Throws Error(kBadInput)
  // for more than 1 GiB of text.
  virtual std::vector<TokenId> encode(std::string_view text,
                                      const EncodeOptions& options) const = 0;

  // The bytes a token stands for; half characters are possible. Empty for control tokens unless
  // `special`. `id` in [0, size()).
  virtual std::string_view piece(TokenId id, bool special = false) const = 0;
  // All pieces; without the space that SentencePiece models put before a text.
  virtual std::string decode(const std::vector<TokenId>& tokens, bool special = false) const;

  virtual std::size_t size() const = 0;
  virtual std::string_view description() const = 0;  // "byte-level BPE (qwen2), 151936 tokens"
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  virtual bool is_end_of_generation(TokenId id) const = 0;  // eos, eot, eom and their known names
  virtual bool adds_bos() const = 0;
};

}  // namespace hearth::runtime
