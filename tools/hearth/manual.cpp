// hearth manual: manual pages and completions, from the table of subcommands and their flags.
#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/small_file.h"
#include "tools/hearth/command_description.h"
#include "tools/hearth/command_line.h"
#include "tools/hearth/completion.h"
#include "tools/hearth/manual_page.h"
#include "tools/hearth/subcommands.h"

namespace hearth::tools {
namespace {

namespace fs = std::filesystem;

void write_into(const fs::path& folder, const std::string& name, const std::string& text) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw_error(ErrorCode::kIo, "{}: cannot be made ({}); name a folder that can be written",
                printable(folder.string()), error.message());
  replace_file((folder / name).string(), text);
}

}  // namespace

int manual(const Arguments& arguments) {
  std::string folder;
  CommandLine line("manual",
                   "Write the manual pages, and completions for bash, zsh and fish, in the layout "
                   "of /usr/share.");
  line.add({.names = "FOLDER",
            .value = "FOLDER",
            .help = "where to, made if missing",
            .required = true,
            .writes = true},
           folder);
  if (!line.parse(arguments)) return 0;
  const std::vector<CommandDescription> commands = describe(hearth_commands());
  const fs::path share(folder);
  for (const CommandDescription& command : commands)
    write_into(share / "man/man1", page_name(command.command) + ".1",
               manual_page(command, HEARTH_VERSION));
  write_into(share / "bash-completion/completions", "hearth", bash_completion(commands));
  write_into(share / "zsh/site-functions", "_hearth", zsh_completion(commands));
  write_into(share / "fish/vendor_completions.d", "hearth.fish", fish_completion(commands));
  return 0;
}

}  // namespace hearth::tools
