#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/pre_tokenizer.h"

#include <pcre2.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "base/utf8.h"

namespace hearth::runtime {
namespace {

// Backtracking steps granted per byte of text. The patterns need about one, so a text that reaches
// the limit shows a pattern that is not linear.
constexpr std::uint64_t kStepsPerByte = 16;
constexpr std::uint64_t kExtraSteps = 10'000;
constexpr std::uint32_t kHeapLimitKiB = 64 * 1024;

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

std::uint32_t step_limit(std::size_t bytes) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(
      kExtraSteps + kStepsPerByte * bytes, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

class PreTokenizer::Pattern {
 public:
  Pattern(std::string_view text, Engine engine) {
    int error = 0;
    std::size_t where = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                              PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr));
    CHECK(code_ != nullptr);
    // Refused where memory must not be both writable and executable; matching then interprets.
    if (engine == Engine::kCompiled) pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  const pcre2_code* code() const { return code_.get(); }

 private:
  struct Free {
    void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
};

// One call of split(): what PCRE2 writes to while it matches.
class PreTokenizer::Cut {
 public:
  Cut(const std::vector<Pattern>& patterns, std::size_t bytes,
      FunctionRef<void(std::string_view)> emit)
      : patterns_(patterns),
        emit_(emit),
        data_(pcre2_match_data_create(1, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    CHECK(data_ != nullptr && context_ != nullptr);
    pcre2_set_match_limit(context_.get(), step_limit(bytes));
    pcre2_set_heap_limit(context_.get(), kHeapLimitKiB);
  }

  // Cuts `text`, valid UTF-8, by the patterns from `stage` on.
  void run(std::string_view text, std::size_t stage) {
    if (text.empty()) return;
    if (stage == patterns_.size()) return emit_(text);
    std::size_t position = 0;
    while (position < text.size()) {
      const Span match = find(text, position, stage);
      run(text.substr(position, match.begin - position), stage + 1);
      run(text.substr(match.begin, match.end - match.begin), stage + 1);
      position = match.end;
    }
  }

 private:
  struct Span {
    std::size_t begin, end;
  };

  // The first match at or after `from`; none is an empty one at the end.
  Span find(std::string_view text, std::size_t from, std::size_t stage) {
    int result = match(text, from, stage, PCRE2_NO_UTF_CHECK);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
      result = match(text, from, stage, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
    if (result < 0)
      throw_error(ErrorCode::kBadInput,
                  "cutting the text into words failed at byte {} of {} (PCRE2 error {}); "
                  "shorten the text",
                  from, text.size(), result);
    const std::size_t* ends = pcre2_get_ovector_pointer(data_.get());
    CHECK_LT(ends[0], ends[1]);
    return {ends[0], ends[1]};
  }

  int match(std::string_view text, std::size_t from, std::size_t stage, std::uint32_t options) {
    return pcre2_match(patterns_[stage].code(), reinterpret_cast<PCRE2_SPTR>(text.data()),
                       text.size(), from, options, data_.get(), context_.get());
  }

  const std::vector<Pattern>& patterns_;
  FunctionRef<void(std::string_view)> emit_;
  std::unique_ptr<pcre2_match_data, FreeMatchData> data_;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context_;
};

PreTokenizer::PreTokenizer(const SplitRule& rule, Engine engine) {
  for (std::string_view pattern : rule.patterns) patterns_.emplace_back(pattern, engine);
}
PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

void PreTokenizer::split(std::string_view text, FunctionRef<void(std::string_view)> emit) const {
  Cut cut(patterns_, text.size(), emit);
  std::size_t position = 0;
  while (position < text.size()) {
    std::size_t valid_end = position;
    while (const std::size_t length = valid_utf8_length(text.substr(valid_end)))
      valid_end += length;
    cut.run(text.substr(position, valid_end - position), 0);

    std::size_t invalid_end = valid_end;
    while (invalid_end < text.size() && valid_utf8_length(text.substr(invalid_end)) == 0)
      ++invalid_end;
    if (invalid_end > valid_end) emit(text.substr(valid_end, invalid_end - valid_end));
    position = invalid_end;
  }
}

}  // namespace hearth::runtime
