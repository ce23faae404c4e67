#include "tools/hearth/synth_vocabulary.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "runtime/tokenizer/byte_alphabet.h"
#include "tools/hearth/model_summary.h"

namespace hearth::tools {
namespace {

constexpr std::uint32_t kBytes = 256;
constexpr std::string_view kControlTokens[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
constexpr std::uint32_t kControlCount = std::size(kControlTokens);
constexpr std::int64_t kNormalType = 1, kControlType = 3;  // tokenizer.ggml.token_type

template <typename T>
io::GgufValue array(std::vector<T> values) {
  return std::make_shared<io::GgufArray>(io::GgufArray{std::move(values)});
}

}  // namespace

io::GgufMetadata vocabulary_of_file(const std::string& path) {
  const io::GgufFile file = open_model_file(path);
  io::GgufMetadata vocabulary;
  for (const io::GgufMetadata::Entry& entry : file.metadata().entries())
    if (entry.key.starts_with("tokenizer.")) vocabulary.set(entry.key, entry.value);
  const auto* tokens = vocabulary.strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty())
    throw_error(ErrorCode::kBadFile, "{}: no tokenizer.ggml.tokens; name a file with a vocabulary",
                path);
  return vocabulary;
}

io::GgufMetadata made_up_vocabulary(std::uint32_t size) {
  if (size < kBytes + kControlCount)
    throw_error(ErrorCode::kUsage,
                "--vocab-size {} is less than {}: 256 bytes and {} control tokens", size,
                kBytes + kControlCount, kControlCount);
  std::vector<std::string> tokens, merges;
  for (std::uint32_t byte = 0; byte < kBytes; ++byte)
    tokens.push_back(runtime::bytes_to_alphabet(std::string(1, static_cast<char>(byte))));
  // Words of one more letter than those of the round before; the first may be the space symbol.
  std::vector<std::string> shorter = {tokens[' ']};
  for (char letter = 'a'; letter <= 'z'; ++letter) shorter.push_back({letter});
  while (tokens.size() < size - kControlCount) {
    std::vector<std::string> words;
    for (const std::string& word : shorter)
      for (char letter = 'a'; letter <= 'z' && tokens.size() < size - kControlCount; ++letter) {
        words.push_back(word + letter);
        tokens.push_back(words.back());
        merges.push_back(word + ' ' + letter);
      }
    shorter = std::move(words);
  }
  std::vector<std::int64_t> types(tokens.size(), kNormalType);
  tokens.insert(tokens.end(), std::begin(kControlTokens), std::end(kControlTokens));
  types.insert(types.end(), kControlCount, kControlType);

  io::GgufMetadata vocabulary;
  vocabulary.set("tokenizer.ggml.model", std::string("gpt2"));
  vocabulary.set("tokenizer.ggml.pre", std::string("qwen2"));
  vocabulary.set("tokenizer.ggml.tokens", array(std::move(tokens)));
  vocabulary.set("tokenizer.ggml.token_type", array(std::move(types)));
  vocabulary.set("tokenizer.ggml.merges", array(std::move(merges)));
  vocabulary.set("tokenizer.ggml.bos_token_id", std::uint64_t{size - 3});
  vocabulary.set("tokenizer.ggml.padding_token_id", std::uint64_t{size - 3});
  vocabulary.set("tokenizer.ggml.eos_token_id", std::uint64_t{size - 1});
  vocabulary.set("tokenizer.ggml.add_bos_token", false);
  return vocabulary;
}

}  // namespace hearth::tools
