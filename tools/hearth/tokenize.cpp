// hearth tokenize: the tokens of a text.
#include <cstdio>

#include "base/error.h"
#include "runtime/tokenizer/tokenizer.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/model_summary.h"
#include "tools/hearth/prompt_text.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

struct TokenizeOptions {
  std::string model;
  PromptFlags prompt;
  bool ids = false;
  bool no_bos = false;
  bool no_parse_special = false;
  bool show_count = false;
};

void print_ids(const std::vector<TokenId>& tokens) {
  std::string text;
  for (const TokenId token : tokens) text += fmt::format("{}{}", text.empty() ? "" : ", ", token);
  fmt::print("[{}]\n", text);
}

void print_pieces(const runtime::Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  for (const TokenId token : tokens)
    fmt::print("{:6} -> '{}'\n", token, printable(tokenizer.piece(token, true), 400));
}

}  // namespace

int tokenize(const Arguments& arguments) {
  TokenizeOptions options;
  CommandLine line("tokenize", "Show the tokens of a text: id and piece, one a line.");
  line.add({.names = "-m,--model",
            .value = "FILE",
            .help = "GGUF file with the vocabulary",
            .required = true},
           options.model);
  line.add({.names = "--ids", .help = "print the ids only, as a list"}, options.ids);
  line.add({.names = "--no-bos", .help = "add no BOS, nor other special tokens"}, options.no_bos);
  line.add({.names = "--no-parse-special", .help = "take control tokens in the text as text"},
           options.no_parse_special);
  line.add({.names = "--show-count", .help = "print the number of tokens at the end"},
           options.show_count);
  line.group("Text");
  options.prompt.add_to(line);
  if (!line.parse(arguments)) return 0;

  const std::string text = options.prompt.text();
  const io::GgufFile file = open_model_file(options.model);
  const auto tokenizer = runtime::Tokenizer::from_metadata(file.metadata());
  const std::vector<TokenId> tokens = tokenizer->encode(
      text, {.add_special = !options.no_bos, .parse_special = !options.no_parse_special});
  if (options.ids)
    print_ids(tokens);
  else
    print_pieces(*tokenizer, tokens);
  if (options.show_count) fmt::print("Total number of tokens: {}\n", tokens.size());
  return 0;
}

}  // namespace hearth::tools
