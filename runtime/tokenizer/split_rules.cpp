// The patterns are those of the models' own tokenizer.json, written so that PCRE2 never backtracks
// over more than a few characters: a match takes time linear in its length, whatever the text.
//
//  - A repeat is possessive (++, *+) where what follows cannot start inside what it took.
//  - \s*[\r\n]+ backtracks from the end of the white space to its last newline. The same span is
//    (?:[white space but newlines]*+[\r\n]++)++, which only walks forward.
//  - [upper]*[lower]+ overlap in the caseless letters and marks; see CASED_WORD.
//  - \s+$ would scan a run of white space again from each of its characters. It can only match at
//    the start of a run, so a look-behind refuses the others at once.
//
// \s is spelt \p{WSpace}: PCRE2 counts U+180E as \s, Unicode and the models do not.
#include "runtime/tokenizer/split_rules.h"

#include <algorithm>

namespace hearth::runtime {
namespace {

#define CONTRACTION R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"

// \s*[\r\n]+|\s+(?!\S)|\s+
#define WHITE_SPACE R"((?:[^\P{WSpace}\r\n]*+[\r\n]++)++|\p{WSpace}+(?!\P{WSpace})|\p{WSpace}++)"

// U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], L = [\p{Ll}\p{Lm}\p{Lo}\p{M}]: U*L+, else U+L*.
// After the longest U*, either a lower case letter follows, or U*L+ ends at the last letter or mark
// without case, or there is none and U+ takes everything.
#define CASED_WORD                                                  \
  R"([^\r\n\p{L}\p{N}]?(?:[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*+\p{Ll})" \
  R"([\p{Ll}\p{Lm}\p{Lo}\p{M}]*+|(?:[\p{Lu}\p{Lt}]*+[\p{Lm}\p{Lo}\p{M}]++)++))"
#define UPPER_WORD R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]++)"

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?+\p{L}++| ?+\p{N}++| ?+[^\p{WSpace}\p{L}\p{N}]++)"
    R"(|\p{WSpace}+(?!\P{WSpace})|\p{WSpace}++)";

constexpr std::string_view kQwen2 = CONTRACTION
    R"(|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}| ?+[^\p{WSpace}\p{L}\p{N}]++[\r\n]*+|)" WHITE_SPACE;

constexpr std::string_view kQwen35 = CONTRACTION
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]++|\p{N}| ?+[^\p{WSpace}\p{L}\p{M}\p{N}]++[\r\n]*+|)" WHITE_SPACE;

constexpr std::string_view kLlama3 = CONTRACTION
    R"(|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?+[^\p{WSpace}\p{L}\p{N}]++[\r\n]*+|)" WHITE_SPACE;

constexpr std::string_view kGpt4o =
    CASED_WORD CONTRACTION "?+|" UPPER_WORD CONTRACTION
                           R"(?+|\p{N}{1,3}+| ?+[^\p{WSpace}\p{L}\p{N}]++[\r\n/]*+|)" WHITE_SPACE;

constexpr std::string_view kTekken =
    CASED_WORD "|" UPPER_WORD R"(|\p{N}| ?+[^\p{WSpace}\p{L}\p{N}]++[\r\n/]*+|)" WHITE_SPACE;

// The script Han as of Unicode 15: \p{Han} has more or less in it, by the version of PCRE2.
#define HAN                                                                                  \
  R"([\x{2E80}-\x{2E99}\x{2E9B}-\x{2EF3}\x{2F00}-\x{2FD5}\x{3005}\x{3007}\x{3021}-\x{3029})" \
  R"(\x{3038}-\x{303B}\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FA6D}\x{FA70}-\x{FAD9})" \
  R"(\x{16FE2}\x{16FE3}\x{16FF0}\x{16FF1}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B739})"            \
  R"(\x{2B740}-\x{2B81D}\x{2B820}-\x{2CEA1}\x{2CEB0}-\x{2EBE0}\x{2F800}-\x{2FA1D})"          \
  R"(\x{30000}-\x{3134A}\x{31350}-\x{323AF}])"
#define NO_HAN "(?:(?!" HAN ")"

// As gpt-4o's, with words that Han does not belong to.
constexpr std::string_view kKimiK2 =
    HAN R"(++|[^\r\n\p{L}\p{N}]?(?:)" NO_HAN R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])*+\p{Ll})" NO_HAN
        R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])*+|(?:[\p{Lu}\p{Lt}]*+)" NO_HAN
        R"([\p{Lm}\p{Lo}\p{M}])++)++))" CONTRACTION R"(?+|[^\r\n\p{L}\p{N}]?)" NO_HAN
        R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])++)" CONTRACTION
        R"(?+|\p{N}{1,3}+| ?+[^\p{WSpace}\p{L}\p{N}]++[\r\n]*+|)" WHITE_SPACE;

constexpr std::string_view kDeepseekV3 =
    R"([!-/:-@\[-`{-~][A-Za-z]++|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]++| ?+[\p{P}\p{S}]++[\r\n]*+|)" WHITE_SPACE;

// Letters with case, as of the Unicode version the model was made with.
constexpr std::string_view kDeepseekLlmWord =
    R"(\p{WSpace}?+[A-Za-z\xB5\xC0-\xD6\xD8-\xF6\xF8-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D})"
    R"(\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3})"
    R"(\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D})"
    R"(\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184})"
    R"(\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF})"
    R"(\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F})"
    R"(\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"
    R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]++)";

constexpr std::string_view kDeepseekLlmPunctuation =
    R"(\p{WSpace}?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]++)";

constexpr std::string_view kDeepseekCjk = R"([\x{800}-\x{9FA5}\x{AC00}-\x{D7FF}]++)";

const std::vector<SplitRule>& split_rules() {
  static const std::vector<SplitRule> rules = {
      {.name = "gpt-2",
       .aliases = {"phi-2", "olmo", "mpt", "jais", "trillion", "exaone4", "modern-bert"},
       .patterns = {kGpt2}},
      {.name = "qwen2",
       // bailingmoe ends newlines with \s*[\r\n], which spans the same as \s*[\r\n]+.
       .aliases = {"deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open",
                   "bailingmoe", "bailingmoe2", "llada-moe"},
       .patterns = {kQwen2}},
      {.name = "qwen35", .aliases = {}, .patterns = {kQwen35}},
      {.name = "llama-bpe",
       .aliases = {"llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       .patterns = {kLlama3},
       .whole_tokens_first = true,
       .adds_bos = true},
      {.name = "glm4", .aliases = {"chatglm-bpe", "dbrx", "smaug-bpe"}, .patterns = {kLlama3}},
      {.name = "gpt-4o", .aliases = {"llama4", "kanana2", "minimax-m2"}, .patterns = {kGpt4o}},
      {.name = "tekken",
       .aliases = {},
       .patterns = {kTekken},
       .whole_tokens_first = true,
       .adds_bos = true},
      {.name = "kimi-k2", .aliases = {}, .patterns = {kKimiK2}, .whole_tokens_first = true},
      {.name = "deepseek-llm",
       .aliases = {},
       .patterns = {R"([\r\n])", kDeepseekLlmWord, kDeepseekLlmPunctuation,
                    R"((?<!\p{WSpace})\p{WSpace}++\z)", kDeepseekCjk, R"(\p{N}++)"}},
      {.name = "deepseek-coder",
       .aliases = {},
       .patterns = {R"([\r\n])", R"(\p{WSpace}?+\p{L}++)", R"(\p{WSpace}?+\p{P}++)", kDeepseekCjk,
                    R"(\p{N})"}},
      {.name = "deepseek-v3",
       .aliases = {"hunyuan-dense", "joyai-llm"},
       .patterns = {R"(\p{N}{1,3}+)", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{30FF}]++)", kDeepseekV3}},
      {.name = "falcon",
       .aliases = {},
       .patterns = {R"([\p{P}$+<=>^~|`]++)", kGpt2, "[0-9][0-9][0-9]"}},
      {.name = "starcoder",
       .aliases = {"refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
       .patterns = {R"(\p{N})", kGpt2}},
      // What files get that name no rule of their own.
      {.name = "default",
       .aliases = {},
       .patterns = {R"([\p{P}$+<=>^~|]++)", kGpt2, R"(\p{N}++)", "[0-9][0-9][0-9]"}},
  };
  return rules;
}

}  // namespace

const SplitRule* find_split_rule(std::string_view name) {
  for (const SplitRule& rule : split_rules()) {
    if (rule.name == name) return &rule;
    if (std::find(rule.aliases.begin(), rule.aliases.end(), name) != rule.aliases.end())
      return &rule;
  }
  return nullptr;
}

std::string known_split_rules() {
  std::string names;
  for (const SplitRule& rule : split_rules()) {
    if (!names.empty()) names += ", ";
    names += rule.name;
  }
  return names;
}

}  // namespace hearth::runtime
