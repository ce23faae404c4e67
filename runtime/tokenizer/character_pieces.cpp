#include "runtime/tokenizer/character_pieces.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace hearth::runtime {
namespace {

constexpr std::string_view kWrittenSpace = "\u2581";

std::string with_spaces(std::string_view written) {
  std::string text;
  while (!written.empty()) {
    const bool space = written.starts_with(kWrittenSpace);
    text += space ? ' ' : written[0];
    written.remove_prefix(space ? kWrittenSpace.size() : 1);
  }
  return text;
}

// The byte of a token written "<0x0A>".
std::string byte_of(std::string_view written) {
  unsigned byte = 0;
  const char* digits = written.data() + 3;
  if (written.size() != 6 || !written.starts_with("<0x") || written[5] != '>' ||
      std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2)
    throw_error(ErrorCode::kBadFile, "the byte token \"{}\" is not written like <0x0A>",
                printable(written));
  return std::string(1, static_cast<char>(byte));
}

}  // namespace

std::string spell_piece(std::string_view written, TokenType type) {
  switch (type) {
    case TokenType::kByte:
      return byte_of(written);
    case TokenType::kNormal:
    case TokenType::kUndefined:
      return with_spaces(written);
    default:
      return std::string(written);
  }
}

ByteTokens::ByteTokens(const Vocabulary& vocabulary)
    : unknown_(vocabulary.unknown().value_or(kNoToken)) {
  tokens_.fill(kNoToken);
  for (TokenId id = 0; static_cast<std::size_t>(id) < vocabulary.size(); ++id)
    if (vocabulary.type(id) == TokenType::kByte)
      tokens_[static_cast<unsigned char>(vocabulary.bytes(id)[0])] = id;
  const auto missing = std::count(tokens_.begin(), tokens_.end(), kNoToken);
  if (missing == 0 || (missing == 256 && unknown_ != kNoToken)) return;
  throw_error(ErrorCode::kBadFile,
              "the vocabulary has {} of the 256 byte tokens and {} unknown token; convert the "
              "model again",
              256 - missing, unknown_ != kNoToken ? "an" : "no");
}

void ByteTokens::spell_out(std::string_view text, std::vector<TokenId>& tokens) const {
  if (tokens_[0] == kNoToken) return tokens.push_back(unknown_);
  for (char byte : text) tokens.push_back(tokens_[static_cast<unsigned char>(byte)]);
}

}  // namespace hearth::runtime
