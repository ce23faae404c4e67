// Any bytes are either a session that goes on, or a hearth::Error of one line after which the
// engine is as usable as before.
//
// The checksum would turn nearly every input away. So each is tried as it is, and with a right one
// in place of its last bytes.
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "runtime/session_file.h"
#include "tests/fuzz/session_models.h"

namespace {

using namespace hearth;
using namespace hearth::runtime;

struct Target {
  explicit Target(const hearth::testing::SessionModel& model)
      : engine(hearth::testing::options_of(model)), session(engine) {}
  Engine engine;
  Session session;
};

void resume(Target& target, const std::string& path) {
  try {
    const Timeline timeline = load_session(path, target.engine, target.session);
    CHECK_EQ(timeline.tokens.size(), std::size_t{target.session.position()});
    CHECK_EQ(timeline.logits.size(), std::size_t{target.engine.config().vocabulary});
    // Keys and values may be any numbers: the next step has logits, or says that they are not
    // finite.
    if (target.session.position() < target.session.context())
      target.session.evaluate({timeline.tokens.data(), 1});
  } catch (const Error& error) {
    CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  target.session.reset();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto targets = [] {
    std::vector<std::unique_ptr<Target>> all;
    for (const auto& model : hearth::testing::kSessionModels)
      all.push_back(std::make_unique<Target>(model));
    return all;
  }();
  static const int file = memfd_create("session", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  const auto try_on_all = [&](const std::vector<std::uint8_t>& bytes) {
    CHECK_EQ(ftruncate(file, 0), 0);
    CHECK_EQ(pwrite(file, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    for (const auto& target : targets) resume(*target, path);
  };
  std::vector<std::uint8_t> bytes(data, data + size);
  try_on_all(bytes);
  if (size < sizeof(std::uint64_t)) return 0;
  const std::uint64_t check = XXH3_64bits(data, size - sizeof check);
  std::memcpy(bytes.data() + size - sizeof check, &check, sizeof check);
  try_on_all(bytes);
  return 0;
}
