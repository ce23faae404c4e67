// libhearth in C++17: handles that close themselves, views, exceptions. What a function does is
// said in hearth/hearth.h; this file adds nothing to it.
//
//   hearth::api::Engine engine("model.gguf");
//   hearth::api::Session session(engine);
//   session.evaluate(engine.tokenize("Once upon a time"));
//   session.generate({}, [](int32_t, std::string_view text) { std::cout << text; return true; });
//
// Handles are moved, not copied; a session keeps to its engine and must go before it. An exception
// of a callback passes through the library to whoever made the call.
#pragma once

#include <hearth/hearth.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace hearth::api {

class Error : public std::runtime_error {
 public:
  Error(hearth_status status, const char* message) : std::runtime_error(message), status_(status) {}
  hearth_status status() const noexcept { return status_; }

 private:
  hearth_status status_;
};

// HEARTH_STOPPED is no error, but the answer to somebody who asked for it: false then.
inline bool check(hearth_status status) {
  if (status == HEARTH_OK) return true;
  if (status == HEARTH_STOPPED) return false;
  throw Error(status, hearth_message());
}

// A struct of the C API with its size set; those that are given to this file's functions may do
// without.
template <typename T>
T sized(T made = {}) {
  made.size = sizeof made;
  return made;
}

namespace detail {

struct Close {
  void operator()(hearth_engine* engine) const noexcept { hearth_engine_close(engine); }
  void operator()(hearth_session* session) const noexcept { hearth_session_close(session); }
  void operator()(hearth_profile* profile) const noexcept { hearth_profile_close(profile); }
  void operator()(hearth_plan* plan) const noexcept { hearth_plan_close(plan); }
};
template <typename T>
using Handle = std::unique_ptr<T, Close>;

// Keeps the exception of a callback until the call is back from the library.
template <typename Callback>
struct Called {
  Callback& callback;
  std::exception_ptr thrown = nullptr;

  // 1, stop, where it throws.
  template <typename... Args>
  std::int32_t operator()(Args... args) noexcept {
    try {
      return callback(args...) ? 0 : 1;
    } catch (...) {
      thrown = std::current_exception();
      return 1;
    }
  }
  bool result(hearth_status status) const {
    if (thrown) std::rethrow_exception(thrown);
    return check(status);
  }
};

// Asks for the length, then for the rest.
template <typename T, typename Fill>
std::vector<T> filled(Fill fill) {
  std::vector<T> all(64);
  while (true) {
    std::size_t count = 0;
    check(fill(all.data(), all.size(), &count));
    const bool whole = count <= all.size();
    all.resize(count);
    if (whole) return all;
  }
}

}  // namespace detail

class Profile {
 public:
  explicit Profile(hearth_profile* owned) : handle_(owned) {}
  static Profile load(const std::string& path) {
    hearth_profile* loaded = nullptr;
    check(hearth_profile_load(path.c_str(), &loaded));
    return Profile(loaded);
  }
  void save(const std::string& path) const { check(hearth_profile_save(get(), path.c_str())); }
  std::uint64_t tokens() const {
    std::uint64_t tokens = 0;
    check(hearth_profile_tokens(get(), &tokens));
    return tokens;
  }
  std::vector<std::uint64_t> uses(std::uint32_t layer) const {
    return detail::filled<std::uint64_t>([&](auto* uses, auto capacity, auto* count) {
      return hearth_profile_uses(get(), layer, uses, capacity, count);
    });
  }
  hearth_profile* get() const noexcept { return handle_.get(); }

 private:
  detail::Handle<hearth_profile> handle_;
};

class Plan {
 public:
  explicit Plan(hearth_plan* owned) : handle_(owned) {}
  static Plan make(const std::string& model_path, hearth_engine_options options = {}) {
    hearth_plan* made = nullptr;
    options.size = sizeof options;
    check(hearth_plan_make(model_path.c_str(), &options, &made));
    return Plan(made);
  }
  static Plan load(const std::string& path) {
    hearth_plan* loaded = nullptr;
    check(hearth_plan_load(path.c_str(), &loaded));
    return Plan(loaded);
  }
  void save(const std::string& path) const { check(hearth_plan_save(get(), path.c_str())); }
  hearth_plan_facts facts() const {
    auto facts = sized<hearth_plan_facts>();
    check(hearth_plan_facts_of(get(), &facts));
    return facts;
  }
  hearth_plan* get() const noexcept { return handle_.get(); }

 private:
  detail::Handle<hearth_plan> handle_;
};

struct Device {
  std::string name, model, architecture, driver;
  std::uint64_t memory;
};

// Throws where there are none, and says what is missing.
inline std::vector<Device> devices() {
  std::vector<Device> found;
  const auto add = [](void* user, const hearth_device_facts* device) {
    static_cast<std::vector<Device>*>(user)->push_back(
        {device->name, device->model, device->architecture, device->driver, device->memory});
  };
  check(hearth_list_devices(add, &found));
  return found;
}

struct ChatMessage {
  std::string role;
  std::string content;
};

class Engine {
 public:
  explicit Engine(const std::string& model_path, hearth_engine_options options = {}) {
    hearth_engine* opened = nullptr;
    options.size = sizeof options;
    if (!check(hearth_engine_open(model_path.c_str(), &options, &opened)))
      throw Error(HEARTH_STOPPED, hearth_message());
    handle_.reset(opened);
  }

  hearth_engine_facts facts() const {
    auto facts = sized<hearth_engine_facts>();
    check(hearth_engine_facts_of(get(), &facts));
    return facts;
  }
  void set_expert_ram(std::uint64_t bytes) { check(hearth_engine_set_expert_ram(get(), bytes)); }
  void set_expert_vram(std::uint64_t bytes) { check(hearth_engine_set_expert_vram(get(), bytes)); }

  std::vector<std::int32_t> tokenize(std::string_view text,
                                     std::int32_t flags = HEARTH_ADD_SPECIAL) const {
    return detail::filled<std::int32_t>([&](auto* tokens, auto capacity, auto* count) {
      return hearth_tokenize(get(), text.data(), text.size(), flags, tokens, capacity, count);
    });
  }
  std::string detokenize(const std::vector<std::int32_t>& tokens, std::int32_t flags = 0) const {
    const auto text = detail::filled<char>([&](auto* out, auto capacity, auto* bytes) {
      return hearth_detokenize(get(), tokens.data(), tokens.size(), flags, out, capacity, bytes);
    });
    return {text.begin(), text.end()};
  }
  bool ends(std::int32_t token) const {
    std::int32_t ends = 0;
    check(hearth_token_ends(get(), token, &ends));
    return ends == 1;
  }
  std::vector<std::int32_t> chat_prompt(const std::vector<ChatMessage>& messages,
                                        hearth_chat_options options = {}) const {
    options.size = sizeof options;
    std::vector<hearth_chat_message> given;
    for (const ChatMessage& one : messages)
      given.push_back({one.role.c_str(), one.content.c_str()});
    return detail::filled<std::int32_t>([&](auto* tokens, auto capacity, auto* count) {
      return hearth_chat_prompt(get(), given.data(), given.size(), &options, tokens, capacity,
                                count);
    });
  }
  Profile make_profile() const {
    hearth_profile* made = nullptr;
    check(hearth_profile_make(get(), &made));
    return Profile(made);
  }
  hearth_telemetry telemetry() const {
    auto telemetry = sized<hearth_telemetry>();
    check(hearth_engine_telemetry(get(), &telemetry));
    return telemetry;
  }
  hearth_telemetry telemetry(std::uint32_t layer) const {
    auto telemetry = sized<hearth_telemetry>();
    check(hearth_engine_layer_telemetry(get(), layer, &telemetry));
    return telemetry;
  }
  hearth_engine* get() const noexcept { return handle_.get(); }

 private:
  detail::Handle<hearth_engine> handle_;
};

// Logits and tokens as a session lends them, until its next call.
template <typename T>
struct View {
  const T* first = nullptr;
  std::size_t count = 0;
  const T* data() const noexcept { return first; }
  std::size_t size() const noexcept { return count; }
  const T* begin() const noexcept { return first; }
  const T* end() const noexcept { return first + count; }
  const T& operator[](std::size_t i) const noexcept { return first[i]; }
};

class Session {
 public:
  explicit Session(const Engine& engine) : vocabulary_(engine.facts().vocabulary) {
    hearth_session* opened = nullptr;
    check(hearth_session_open(engine.get(), &opened));
    handle_.reset(opened);
  }

  // The logits after the last token; an empty view when it was cancelled.
  View<float> evaluate(const std::vector<std::int32_t>& tokens) {
    const float* logits = nullptr;
    if (!check(hearth_session_evaluate(get(), tokens.data(), tokens.size(), &logits))) return {};
    return {logits, vocabulary_};
  }
  // on_token(std::int32_t token, std::string_view text) is true to go on.
  template <typename OnToken>
  hearth_generated generate(hearth_generation generation, OnToken on_token) {
    generation.size = sizeof generation;
    auto generated = sized<hearth_generated>();
    detail::Called<OnToken> called{on_token};
    const auto call = [](void* user, std::int32_t token, const char* text, std::size_t bytes) {
      return (*static_cast<detail::Called<OnToken>*>(user))(token, std::string_view(text, bytes));
    };
    called.result(hearth_session_generate(get(), &generation, call, &called, &generated));
    return generated;
  }
  void cancel() { check(hearth_session_cancel(get())); }
  void rewind(std::size_t position) { check(hearth_session_rewind(get(), position)); }
  View<std::int32_t> tokens() const {
    View<std::int32_t> tokens;
    check(hearth_session_tokens(get(), &tokens.first, &tokens.count));
    return tokens;
  }
  void save(const std::string& path) { check(hearth_session_save(get(), path.c_str())); }
  void load(const std::string& path) { check(hearth_session_load(get(), path.c_str())); }
  void record(Profile& profile, const std::string& workload) {
    check(hearth_session_record(get(), profile.get(), workload.c_str()));
  }
  void stop_recording() { check(hearth_session_record(get(), nullptr, nullptr)); }
  hearth_session_times times() const {
    auto times = sized<hearth_session_times>();
    check(hearth_session_times_of(get(), &times));
    return times;
  }
  hearth_session* get() const noexcept { return handle_.get(); }

 private:
  std::size_t vocabulary_;
  detail::Handle<hearth_session> handle_;
};

}  // namespace hearth::api
