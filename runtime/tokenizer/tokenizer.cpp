#include "runtime/tokenizer/tokenizer.h"

#include "base/error.h"
#include "runtime/tokenizer/byte_level_bpe.h"
#include "runtime/tokenizer/character_bpe.h"
#include "runtime/tokenizer/sentencepiece.h"

namespace hearth::runtime {

namespace {

std::unique_ptr<Tokenizer> construct(const io::GgufMetadata& metadata) {
  const auto model = metadata.string("tokenizer.ggml.model");
  if (!model)
    throw_error(ErrorCode::kBadFile,
                "tokenizer.ggml.model is missing; the file holds no tokenizer");
  if (*model == "gpt2") return std::make_unique<ByteLevelBpe>(metadata);
  if (*model == "llama") return std::make_unique<SentencePiece>(metadata);
  if (*model == "gemma4") return std::make_unique<CharacterBpe>(metadata);
  throw_error(ErrorCode::kUnsupported,
              "tokenizer.ggml.model is \"{}\"; supported are gpt2 (byte-level BPE), llama "
              "(SentencePiece) and gemma4 (character BPE)",
              printable(*model));
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::from_metadata(const io::GgufMetadata& metadata) {
  try {
    return construct(metadata);
  } catch (const Error& error) {  // typed access names the file, the checks of the arrays do not
    const std::string_view line = error.what();
    if (line.starts_with(metadata.file())) throw;
    throw Error(error.code(), fmt::format("{}: {}", metadata.file(), line));
  }
}

std::string Tokenizer::decode(const std::vector<TokenId>& tokens, bool special) const {
  std::string text;
  for (TokenId id : tokens) text += piece(id, special);
  return text;
}

}  // namespace hearth::runtime
