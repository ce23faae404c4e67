// hearth kld: how far the predictions of this run are from those of a base run.
#include <cstdio>
#include <optional>

#include "base/error.h"
#include "runtime/divergence.h"
#include "runtime/log_probs.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

void check_vocabulary(const runtime::LogProbsHeader& base, const runtime::Engine& engine,
                      const std::string& path) {
  const std::uint32_t vocabulary = engine.config().vocabulary;
  if (base.vocabulary != vocabulary)
    throw_error(ErrorCode::kBadInput,
                "{}: is over a vocabulary of {} tokens, but the model has {}; save it with a model "
                "of the same vocabulary",
                path, base.vocabulary, vocabulary);
}

void print_result(const runtime::Divergence& divergence) {
  const auto line = [](const char* name, double value) {
    fmt::print("{:<18}{:12.6f}\n", name, value);
  };
  fmt::print("{:<18}{:12}\n", "tokens", divergence.tokens());
  line("PPL of the base", divergence.base().value());
  line("PPL of this run", divergence.run().value());
  fmt::print("{:<18}{:12.6f} +/- {:.6f}\n", "mean KLD", divergence.mean(),
             divergence.standard_error());
  line("median KLD", divergence.percentile(0.5));
  line("99.0 % KLD", divergence.percentile(0.99));
  line("99.9 % KLD", divergence.percentile(0.999));
  line("maximum KLD", divergence.percentile(1));
  line("mean change of p, %", 100 * divergence.mean_probability_change());
  line("RMS change of p, %", 100 * divergence.root_mean_square_probability_change());
  line("same top token, %", 100 * divergence.same_top());
}

}  // namespace

int kld(const Arguments& arguments) {
  EngineFlags flags;
  std::string base_path;
  std::optional<std::uint32_t> chunks;
  CommandLine line("kld",
                   "Compare the predictions of this run with those of a base run: Kullback-Leibler "
                   "divergence, token by token.");
  flags.add_to(line);
  line.group("Base");
  line.add({.names = "--base,--kl-divergence-base",
            .value = "FILE",
            .help = "written by hearth perplexity --save-all-logits, or llama-perplexity",
            .required = true},
           base_path);
  line.add({.names = "--chunks", .value = "N", .help = "stop after so many chunks"}, chunks);
  if (!line.parse(arguments)) return 0;
  if (chunks == 0u) throw_error(ErrorCode::kUsage, "--chunks must be at least 1");

  runtime::LogProbsReader base(base_path);
  const std::uint32_t chunk = base.header().context;
  if (flags.context == 0) flags.context = chunk;
  if (flags.context < chunk)
    throw_error(ErrorCode::kUsage,
                "--ctx-size {}: {} has chunks of {} tokens; raise it, or leave it out",
                flags.context, printable(base_path, 400), chunk);
  const auto engine = flags.open();
  check_vocabulary(base.header(), *engine, base_path);
  const runtime::Tokenizer& tokenizer = engine->tokenizer();
  runtime::PerplexityOptions options{.context = chunk, .most_chunks = chunks};
  if (tokenizer.adds_bos()) options.bos = tokenizer.bos();

  runtime::Session session(*engine);
  const InterruptGuard interrupt;
  runtime::Divergence divergence;
  runtime::score_chunks(
      session, base.header().tokens, options,
      [&](std::span<const float> logits, TokenId next) {
        divergence.add(base.next(), logits, next);
      },
      [&](std::uint32_t scored) {
        fmt::print("[{}]{:.6f},", scored + 1, divergence.mean());
        std::fflush(stdout);
        return !interrupt.interrupted();
      });
  fmt::print("\n");
  interrupt.throw_if_interrupted();
  print_result(divergence);
  return 0;
}

}  // namespace hearth::tools
