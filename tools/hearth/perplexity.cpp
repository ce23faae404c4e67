// hearth perplexity: how well a model predicts a text.
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "runtime/perplexity.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/routing_flags.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {

int perplexity(const Arguments& arguments) {
  EngineFlags flags;
  RoutingFlags routing;
  flags.context = 512;
  std::string file;
  std::optional<std::uint32_t> chunks;
  CommandLine line("perplexity",
                   "Measure the perplexity of a text over chunks of --ctx-size tokens.");
  flags.add_to(line);
  line.group("Text");
  line.add({.names = "-f,--file", .value = "FILE", .help = "the text", .required = true}, file);
  line.add({.names = "--chunks", .value = "N", .help = "stop after so many chunks"}, chunks);
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
  InterruptGuard interrupt;
  const auto estimate =
      runtime::perplexity(session, tokens, options,
                          [&](std::uint32_t chunk, const runtime::PerplexityEstimate& so_far) {
                            fmt::print("[{}]{:.4f},", chunk + 1, so_far.value());
                            std::fflush(stdout);
                            return !interrupt.interrupted();
                          });
  fmt::print("\n");
  interrupt.throw_if_interrupted();
  fmt::print("Final estimate: PPL = {:.4f} +/- {:.5f}\n", estimate.value(),
             estimate.standard_error());
  recording.finish();
  return 0;
}

}  // namespace hearth::tools
