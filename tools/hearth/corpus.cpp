#include "tools/hearth/corpus.h"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace hearth::tools {
namespace {

// Encoding takes forty times the size of a text, so a long one is encoded in pieces.
constexpr std::size_t kPieceBytes = 256 << 10;

// A file in pieces that end with a line, where lines are not longer than a piece.
class TextPieces {
 public:
  explicit TextPieces(const std::string& path)
      : path_(path), file_(std::fopen(path.c_str(), "rb"), std::fclose) {
    if (file_ == nullptr) fail(ErrorCode::kNotFound, "opened");
  }

  std::string next() {  // empty at the end
    std::string piece = std::exchange(rest_, {});
    const std::size_t kept = piece.size();
    piece.resize(kPieceBytes);
    piece.resize(kept + std::fread(piece.data() + kept, 1, kPieceBytes - kept, file_.get()));
    if (std::ferror(file_.get()) != 0) fail(ErrorCode::kIo, "read");
    const std::size_t end = piece.rfind('\n');
    if (piece.size() < kPieceBytes || end == piece.npos) return piece;
    rest_ = piece.substr(end + 1);
    piece.resize(end + 1);
    return piece;
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const char* what) const {
    throw_error(code, "{}: cannot be {}: {}; check the path", printable(path_, 400), what,
                std::strerror(errno));
  }

  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::string rest_;  // the begin of a line
};

}  // namespace

Corpus::Corpus(const std::vector<std::string>& files, const runtime::Tokenizer& tokenizer,
               const Limits& limits) {
  CHECK_GE(limits.chunk, 2u);
  if (tokenizer.adds_bos()) bos_ = tokenizer.bos();
  for (const std::string& file : files) add_file(file, tokenizer, limits);
  if (tokens_.empty())
    throw_error(ErrorCode::kBadInput,
                "the texts have no two tokens to be run; give a longer one with --file");
}

std::uint64_t Corpus::room(const Limits& limits) const {
  return limits.most_tokens.value_or(UINT64_MAX) - tokens_.size();
}

void Corpus::add_file(const std::string& path, const runtime::Tokenizer& tokenizer,
                      const Limits& limits) {
  TextPieces pieces(path);
  std::vector<TokenId> text;
  for (std::string piece; text.size() < room(limits) && !(piece = pieces.next()).empty();) {
    const std::vector<TokenId> encoded =
        tokenizer.encode(piece, {.add_special = false, .parse_special = false});
    text.insert(text.end(), encoded.begin(), encoded.end());
  }
  cut(text, limits);
}

void Corpus::cut(std::span<const TokenId> text, const Limits& limits) {
  const std::uint64_t begun = bos_ ? 1 : 0;
  while (!text.empty()) {
    const std::uint64_t all =
        std::min({begun + text.size(), std::uint64_t{limits.chunk}, room(limits)});
    if (all < 2) return;
    if (bos_) tokens_.push_back(*bos_);
    const auto own = text.first(all - begun);
    tokens_.insert(tokens_.end(), own.begin(), own.end());
    ends_.push_back(tokens_.size());
    text = text.subspan(own.size());
  }
}

std::span<const TokenId> Corpus::chunk(std::size_t index) const {
  CHECK_LT(index, ends_.size());
  return std::span(tokens_).subspan(tokens_before(index), ends_[index] - tokens_before(index));
}

std::uint64_t Corpus::fingerprint() const {
  const std::uint64_t cuts = XXH3_64bits(ends_.data(), ends_.size() * sizeof(ends_[0]));
  return XXH3_64bits_withSeed(tokens_.data(), tokens_.size() * sizeof(tokens_[0]), cuts);
}

}  // namespace hearth::tools
