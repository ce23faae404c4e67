// hearth perplexity: how well a model predicts a text.
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "runtime/log_probs.h"
#include "runtime/perplexity.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

runtime::LogProbsHeader base_header(std::span<const TokenId> tokens,
                                    const runtime::PerplexityOptions& options,
                                    std::uint32_t vocabulary) {
  const std::size_t used = std::size_t{runtime::chunk_count(tokens, options)} * options.context;
  return {.context = options.context,
          .vocabulary = vocabulary,
          .tokens = {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(used)}};
}

}  // namespace

int perplexity(const Arguments& arguments) {
  EngineFlags flags;
  RoutingFlags routing;
  flags.context = 512;
  std::string file;
  std::optional<std::uint32_t> chunks;
  std::optional<std::string> saved;
  CommandLine line("perplexity",
                   "Measure the perplexity of a text over chunks of --ctx-size tokens.");
  flags.add_to(line);
  line.group("Text");
  line.add({.names = "-f,--file", .value = "FILE", .help = "the text", .required = true}, file);
  line.add({.names = "--chunks", .value = "N", .help = "stop after so many chunks"}, chunks);
  line.add({.names = "--save-all-logits",
            .value = "FILE",
            .help = "write the predictions there, as the base of hearth kld",
            .writes = true},
           saved);
  routing.add_to(line);
  if (!line.parse(arguments)) return 0;
  routing.check();
  if (chunks == 0u) throw_error(ErrorCode::kUsage, "--chunks must be at least 1");

  std::string text = read_text(file);
  if (text.ends_with('\n')) text.pop_back();  // as llama.cpp reads files
  const auto engine = flags.open();
  const runtime::Tokenizer& tokenizer = engine->tokenizer();
  const std::vector<TokenId> tokens =
      tokenizer.encode(text, {.add_special = true, .parse_special = false});
  runtime::PerplexityOptions options{.context = engine->plan().context, .most_chunks = chunks};
  if (tokenizer.adds_bos()) options.bos = tokenizer.bos();

  runtime::Session session(*engine);
  RoutingRecording recording(routing, *engine, session);
  const InterruptGuard interrupt;
  std::optional<runtime::LogProbsWriter> writer;
  if (saved)
    writer.emplace(*saved, base_header(tokens, options, engine->config().vocabulary));
  else
    runtime::chunk_count(tokens, options);
  runtime::PerplexityEstimate estimate;
  runtime::score_chunks(
      session, tokens, options,
      [&](std::span<const float> logits, TokenId next) {
        estimate.add(runtime::negative_log_likelihood(logits, next));
        if (writer) writer->add(logits);
      },
      [&](std::uint32_t chunk) {
        fmt::print("[{}]{:.4f},", chunk + 1, estimate.value());
        std::fflush(stdout);
        return !interrupt.interrupted();
      });
  fmt::print("\n");
  interrupt.throw_if_interrupted();
  if (writer) writer->finish();
  fmt::print("Final estimate: PPL = {:.4f} +/- {:.5f}\n", estimate.value(),
             estimate.standard_error());
  recording.finish();
  return 0;
}

}  // namespace hearth::tools
