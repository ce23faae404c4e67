// Small vocabularies made by hand, as the metadata of a file would hold them.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/gguf.h"
#include "runtime/tokenizer/byte_alphabet.h"

namespace hearth::runtime {

template <typename T>
io::GgufValue gguf_array(std::vector<T> values) {
  return std::make_shared<io::GgufArray>(io::GgufArray{std::move(values)});
}

struct TestToken {
  std::string text;
  std::int64_t type = 1;
  double score = 0.0;
};

// <0x00> to <0xFF>, as SentencePiece vocabularies hold them.
inline void append_byte_tokens(std::vector<TestToken>& tokens) {
  for (int byte = 0; byte < 256; ++byte) tokens.push_back({fmt::format("<0x{:02X}>", byte), 6});
}

inline void set_tokens(io::GgufMetadata& metadata, const std::vector<TestToken>& tokens) {
  std::vector<std::string> texts;
  std::vector<std::int64_t> types;
  std::vector<double> scores;
  for (const TestToken& token : tokens) {
    texts.push_back(token.text);
    types.push_back(token.type);
    scores.push_back(token.score);
  }
  metadata.set("tokenizer.ggml.tokens", gguf_array(std::move(texts)));
  metadata.set("tokenizer.ggml.token_type", gguf_array(std::move(types)));
  metadata.set("tokenizer.ggml.scores", gguf_array(std::move(scores)));
}

// Byte-level BPE: tokens 0..255 are the bytes, then one token for each merge in order, then `more`.
// Merges are pairs of byte strings.
inline io::GgufMetadata byte_level_vocabulary(
    std::string_view pre, const std::vector<std::pair<std::string, std::string>>& merges,
    const std::vector<TestToken>& more = {}) {
  std::vector<TestToken> tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back({bytes_to_alphabet(std::string(1, static_cast<char>(byte)))});
  std::vector<std::string> written;
  for (const auto& [left, right] : merges) {
    written.push_back(bytes_to_alphabet(left) + " " + bytes_to_alphabet(right));
    tokens.push_back({bytes_to_alphabet(left + right)});
  }
  tokens.insert(tokens.end(), more.begin(), more.end());
  io::GgufMetadata metadata;
  metadata.set("tokenizer.ggml.model", std::string("gpt2"));
  metadata.set("tokenizer.ggml.pre", std::string(pre));
  set_tokens(metadata, tokens);
  metadata.set("tokenizer.ggml.merges", gguf_array(std::move(written)));
  return metadata;
}

// Doublings of each unit up to `levels` times: every run of a unit merges many times over.
inline std::vector<std::pair<std::string, std::string>> doublings(
    const std::vector<std::string>& units, int levels) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (const std::string& unit : units) {
    // A character of several bytes is first put together from the left.
    for (std::size_t i = 1; i < unit.size(); ++i)
      merges.emplace_back(unit.substr(0, i), unit.substr(i, 1));
    std::string run = unit;
    for (int level = 0; level < levels; ++level, run += run) merges.emplace_back(run, run);
  }
  return merges;
}

}  // namespace hearth::runtime
