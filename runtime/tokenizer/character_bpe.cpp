#include "runtime/tokenizer/character_bpe.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace hearth::runtime {
namespace {

const std::vector<std::string>& merges_of(const io::GgufMetadata& metadata) {
  const auto* merges = metadata.strings("tokenizer.ggml.merges");
  if (!merges)
    throw_error(ErrorCode::kBadFile, "tokenizer.ggml.merges is missing; convert the model again");
  return *merges;
}

}  // namespace

CharacterBpe::CharacterBpe(const io::GgufMetadata& metadata)
    : VocabularyTokenizer(metadata, spell_piece, "character BPE", true),
      byte_tokens_(vocabulary()),
      merges_(merges_of(metadata).size()) {
  read_merges(merges_of(metadata));
}

// Lists of merges also spell control tokens such as </s>, which text never becomes: left out.
void CharacterBpe::read_merges(const std::vector<std::string>& merges) {
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string::npos)
      throw_error(ErrorCode::kBadFile,
                  "tokenizer.ggml.merges holds \"{}\", which is no pair; convert the model again",
                  printable(merge));
    const std::string left = spell_piece(merge.substr(0, space), TokenType::kNormal);
    const std::string right = spell_piece(merge.substr(space + 1), TokenType::kNormal);
    const auto a = vocabulary().find(left), b = vocabulary().find(right),
               both = vocabulary().find(left + right);
    if (a && b && both) merges_.add(*a, *b, *both);
  }
}

void CharacterBpe::encode_text(std::string_view text, PairMerging& merging,
                               std::vector<TokenId>& tokens) const {
  for (std::size_t begin = 0; begin < text.size();) {
    const bool newlines = text[begin] == '\n';
    const std::size_t end = std::min(
        newlines ? text.find_first_not_of('\n', begin) : text.find('\n', begin), text.size());
    const std::string_view run = text.substr(begin, end - begin);
    begin = end;
    if (const auto whole = newlines ? vocabulary().find(run) : std::nullopt)
      tokens.push_back(*whole);
    else
      encode_run(run, merging, tokens);
  }
}

void CharacterBpe::encode_run(std::string_view text, PairMerging& merging,
                              std::vector<TokenId>& tokens) const {
  merging.start(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(valid_utf8_length(text.substr(i)), 1);
    merging.append(static_cast<std::uint32_t>(i),
                   vocabulary().find(text.substr(i, length)).value_or(kNoToken));
    i += length;
  }
  merging.run(
      static_cast<std::uint32_t>(text.size()),
      [&](const Pair& pair) { return merges_.find(pair.left, pair.right); },
      [&](TokenId token, std::uint32_t begin, std::uint32_t end) {
        if (token != kNoToken) return tokens.push_back(token);
        byte_tokens_.spell_out(text.substr(begin, end - begin), tokens);
      });
}

}  // namespace hearth::runtime
