#include "tools/hearth/kv_quality.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace hearth::tools {
namespace {

[[noreturn]] void fail(std::string_view what) {
  throw_error(ErrorCode::kIo, "the temporary file of predictions cannot be {}: {}; free some space",
              what, std::strerror(errno));
}

}  // namespace

KvQuality::KvQuality(runtime::Session& base, std::vector<TokenId> tokens,
                     const runtime::PerplexityOptions& options,
                     std::function<void()> between_chunks)
    : file_(std::tmpfile()),
      tokens_(std::move(tokens)),
      options_(options),
      between_chunks_(std::move(between_chunks)) {
  if (file_ == nullptr) fail("created");
  runtime::chunk_count(tokens_, options_);
  score(base, [&](std::span<const float> logits, TokenId) { save(logits); });
}

runtime::Divergence KvQuality::of(runtime::Session& session) {
  std::rewind(file_.get());
  runtime::Divergence divergence;
  score(session, [&](std::span<const float> logits, TokenId following) {
    divergence.add(next(), logits, following);
  });
  return divergence;
}

void KvQuality::score(runtime::Session& session,
                      FunctionRef<void(std::span<const float>, TokenId)> score) const {
  runtime::score_chunks(session, tokens_, options_, score, [&](std::uint32_t) {
    between_chunks_();
    return true;
  });
}

void KvQuality::save(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  const double whole = largest + std::log(sum);
  row_.resize(logits.size());
  std::transform(logits.begin(), logits.end(), row_.begin(),
                 [&](float logit) { return static_cast<float>(logit - whole); });
  if (std::fwrite(row_.data(), sizeof(float), row_.size(), file_.get()) != row_.size())
    fail("written");
}

std::span<const float> KvQuality::next() {
  if (std::fread(row_.data(), sizeof(float), row_.size(), file_.get()) != row_.size()) fail("read");
  return row_;
}

}  // namespace hearth::tools
