// hearth logits: what the model computes for a sequence of tokens, as files for other programs.
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_replacement.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/engine_flags.h"
#include "tools/hearth/expert_log.h"
#include "tools/hearth/interrupt.h"
#include "tools/hearth/npy.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/quantity.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

struct LogitsOptions {
  EngineFlags engine;
  PromptFlags prompt;
  std::optional<std::string> token_ids;
  std::string output;
  std::optional<std::string> experts;
  bool step = false;
};

bool parse(const Arguments& arguments, LogitsOptions& options) {
  CommandLine line("logits", "Write the logits after every token of a sequence.");
  options.engine.add_to(line);
  line.group("Tokens");
  line.add({.names = "--token-ids", .value = "N,N,...", .help = "the tokens themselves"},
           options.token_ids);
  options.prompt.add_to(line);
  line.add({.names = "--step", .help = "feed one token at a time"}, options.step);
  line.group("Output");
  line.add({.names = "-o,--output",
            .value = "FILE",
            .help = "float32 .npy of shape [tokens][vocabulary]",
            .required = true,
            .writes = true},
           options.output);
  line.add({.names = "--experts",
            .value = "FILE",
            .help = "the experts chosen, as JSON",
            .writes = true},
           options.experts);
  if (!line.parse(arguments)) return false;
  if (options.token_ids && (line.given("--prompt") || line.given("--file")))
    throw_error(ErrorCode::kUsage,
                "--token-ids and a prompt both give the tokens; give one of them");
  return true;
}

std::vector<TokenId> parse_token_ids(std::string_view text) {
  std::vector<TokenId> tokens;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view number = text.substr(begin, end - begin);
    try {
      tokens.push_back(static_cast<TokenId>(parse_integer(number, 0, INT32_MAX)));
    } catch (const Error& error) {
      throw_error(error.code(), "--token-ids: {}; write for example 1,2,3", error.what());
    }
    begin = end + 1;
  }
  return tokens;
}

}  // namespace

int logits(const Arguments& arguments) {
  LogitsOptions options;
  if (!parse(arguments, options)) return 0;
  std::vector<TokenId> tokens;
  std::string text;
  if (options.token_ids)
    tokens = parse_token_ids(*options.token_ids);
  else
    text = options.prompt.text();

  const auto engine = options.engine.open();
  if (!options.token_ids) tokens = engine->tokenizer().encode(text, {});
  runtime::Session session(*engine);
  ExpertLog experts(engine->config());
  if (options.experts)
    session.on_routed([&](const profiler::Routing& routing) { experts.add(routing); });

  NpyWriter output(options.output, {.rows = tokens.size(), .columns = engine->config().vocabulary});
  std::optional<FileReplacement> experts_output;
  if (options.experts) experts_output.emplace(*options.experts);
  runtime::LogitsHash hash;
  const InterruptGuard interrupt;
  const std::size_t at_once = options.step ? 1 : engine->plan().batch;
  for (std::size_t begin = 0; begin < tokens.size(); begin += at_once) {
    interrupt.throw_if_interrupted();
    const std::size_t count = std::min(at_once, tokens.size() - begin);
    session.evaluate(std::span(tokens).subspan(begin, count), 0,
                     [&](std::uint32_t, std::span<const float> row) {
                       output.append(row);
                       hash.add(row);
                     });
  }
  output.finish();
  if (experts_output) {
    const std::string json = experts.json();
    experts_output->write(std::as_bytes(std::span(json)));
    experts_output->commit();
  }
  fmt::print(stderr, "logits    {} tokens x {}, hash {:016x}\n", tokens.size(),
             engine->config().vocabulary, hash.value());
  return 0;
}

}  // namespace hearth::tools
