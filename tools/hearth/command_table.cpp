#include "tools/hearth/command_table.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "base/error.h"
#include "tools/hearth/command_description.h"
#include "tools/hearth/nearest_name.h"

namespace hearth::tools {
namespace {

void print_help(std::FILE* to, const CommandTable& table) {
  fmt::print(to, "{}\n\nUsage: {} SUBCOMMAND [FLAGS]\n\n", table.summary, table.command);
  for (const Subcommand& subcommand : table.subcommands)
    fmt::print(to, "  {:<12}{}\n", subcommand.name, subcommand.summary);
  fmt::print(to, "\n'{} SUBCOMMAND --help' lists the flags of one.{}\n", table.command,
             table.footer);
}

[[noreturn]] void unknown_subcommand(const CommandTable& table, const std::string& name) {
  if (name.starts_with("-"))
    throw_error(ErrorCode::kUsage, "a subcommand comes before {}; '{} --help' lists them",
                printable(name), table.command);
  std::vector<std::string> names;
  for (const Subcommand& subcommand : table.subcommands) names.emplace_back(subcommand.name);
  const std::string_view nearest = nearest_name(name, names);
  throw_error(
      ErrorCode::kUsage, "unknown subcommand '{}'; {}'{} --help' lists all", printable(name),
      nearest.empty() ? std::string() : fmt::format("did you mean '{}'? ", nearest), table.command);
}

}  // namespace

int run_subcommand(const CommandTable& table, const Arguments& arguments) {
  if (CommandDescriptions* all = CommandDescriptions::wanted()) return all->add(table), 0;
  if (arguments.empty()) {
    print_help(stderr, table);
    return kExitUsage;
  }
  const std::string& name = arguments.front();
  if (name == "--help" || name == "-h" || name == "help") return print_help(stdout, table), 0;
  for (const Subcommand& subcommand : table.subcommands)
    if (subcommand.name == name) return subcommand.run({arguments.begin() + 1, arguments.end()});
  unknown_subcommand(table, name);
}

}  // namespace hearth::tools
