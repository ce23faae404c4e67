// How far predictions with some formats of keys and values are from those with f32, on one text.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/divergence.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace hearth::tools {

class KvQuality {
 public:
  // Scores `tokens` in chunks (runtime/perplexity.h) with `base` and keeps its log-probabilities,
  // exact, in a temporary file without a name. `between_chunks` may throw to stop. Throws Error.
  KvQuality(runtime::Session& base, std::vector<TokenId> tokens,
            const runtime::PerplexityOptions& options, std::function<void()> between_chunks);

  runtime::Divergence of(runtime::Session& session);

 private:
  void save(std::span<const float> logits);
  std::span<const float> next();
  void score(runtime::Session& session,
             FunctionRef<void(std::span<const float> logits, TokenId next)> score) const;

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
  std::vector<TokenId> tokens_;
  runtime::PerplexityOptions options_;
  std::function<void()> between_chunks_;
  std::vector<float> row_;  // of log-probabilities
};

}  // namespace hearth::tools
