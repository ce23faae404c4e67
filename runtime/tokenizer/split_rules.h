// How byte-level models cut text into pre-tokens, by the name in tokenizer.ggml.pre.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::runtime {

struct SplitRule {
  std::string_view name;
  std::vector<std::string_view> aliases;  // other names of exactly the same rule
  // PCRE2 patterns. The first cuts the text into its matches and what lies between them; each
  // further one cuts every piece of the one before, seeing nothing beyond that piece.
  std::vector<std::string_view> patterns;
  bool whole_tokens_first = false;  // a pre-token that is a token is not built from merges
  bool adds_bos = false;            // where tokenizer.ggml.add_bos_token is absent
};

const SplitRule* find_split_rule(std::string_view name);  // by name or alias; null if unknown
std::string known_split_rules();                          // the names, separated by commas

}  // namespace hearth::runtime
