// Any bytes, encoded and decoded, are the same bytes, and merging covers them without a gap.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"
#include "tests/runtime/support/vocabularies.h"

namespace {

using namespace hearth::runtime;

// One tokenizer for each way of cutting text; which one a text goes to is its first byte.
std::vector<std::unique_ptr<Tokenizer>> make_tokenizers() {
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  for (const char* rule :
       {"gpt-2", "qwen2", "qwen35", "llama-bpe", "glm4", "gpt-4o", "kimi-k2", "tekken",
        "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "starcoder", "default"})
    tokenizers.push_back(Tokenizer::from_metadata(
        byte_level_vocabulary(rule, doublings({"a", " ", "\n", "1", "中", "\xff"}, 3),
                              {{"<|end|>", 3}, {"<|end", 3}, {"<tool>", 4}, {"\n\n", 4}})));
  return tokenizers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizers = make_tokenizers();
  if (size == 0) return 0;
  const Tokenizer& tokenizer = *tokenizers[data[0] / 2 % tokenizers.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto tokens =
      tokenizer.encode(text, {.add_special = false, .parse_special = data[0] % 2 == 1});
  if (tokenizer.decode(tokens, true) != text) std::abort();
  return 0;
}
