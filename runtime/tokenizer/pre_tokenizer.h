// Cuts text into pre-tokens: merging never crosses their borders.
//
// Immutable after construction and safe to share between threads.
//
// Bytes that are not UTF-8: each longest run of them is a pre-token of its own, and the text before
// and after it is cut as if it stood alone.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/function_ref.h"
#include "runtime/tokenizer/split_rules.h"

namespace hearth::runtime {

class PreTokenizer {
 public:
  enum class Engine { kCompiled, kInterpreted };  // kCompiled where PCRE2 can, else interpreted

  explicit PreTokenizer(const SplitRule& rule, Engine engine = Engine::kCompiled);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // Calls `emit` with the pre-tokens in order; together they are the text. Linear in the text.
  void split(std::string_view text, FunctionRef<void(std::string_view)> emit) const;

 private:
  class Pattern;
  class Cut;
  std::vector<Pattern> patterns_;
};

}  // namespace hearth::runtime
