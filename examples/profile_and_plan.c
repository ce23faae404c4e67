// What a text routes to, what would then be taken, and an engine that begins with it:
// profile_and_plan MODEL.gguf TEXT PROFILE.toml PLAN.toml
#include <hearth/hearth.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Ends the program with the message of what failed.
static void check(hearth_status status, const char* what) {
  if (status == HEARTH_OK) return;
  fprintf(stderr, "profile_and_plan: %s: %s: %s\n", what, hearth_status_name(status),
          hearth_message());
  exit(1);
}

static void learn(const char* model, const char* text, const char* profile_path) {
  static int32_t tokens[1024];
  size_t count;
  hearth_engine* engine;
  hearth_session* session;
  hearth_profile* profile;
  check(hearth_engine_open(model, NULL, &engine), "engine");
  check(hearth_session_open(engine, &session), "session");
  check(hearth_profile_make(engine, &profile), "profile");
  check(hearth_session_record(session, profile, "example"), "recording");
  check(hearth_tokenize(engine, text, strlen(text), HEARTH_ADD_SPECIAL, tokens, 1024, &count),
        "text");
  check(hearth_session_evaluate(session, tokens, count < 1024 ? count : 1024, NULL), "evaluation");
  check(hearth_session_close(session), "session");
  check(hearth_profile_save(profile, profile_path), "profile");
  check(hearth_profile_close(profile), "profile");
  check(hearth_engine_close(engine), "engine");
}

// With room for half of the experts.
static void make_plan(const char* model, const char* profile_path, const char* plan_path) {
  hearth_profile* profile;
  hearth_plan* plan;
  hearth_engine_options options = {0};
  hearth_plan_facts facts = {0};
  options.size = sizeof options;
  facts.size = sizeof facts;
  check(hearth_profile_load(profile_path, &profile), "profile");
  options.profile = profile;
  check(hearth_plan_make(model, &options, &plan), "plan");
  check(hearth_plan_facts_of(plan, &facts), "plan");
  check(hearth_plan_close(plan), "plan");
  options.expert_ram = facts.experts / 2;
  check(hearth_plan_make(model, &options, &plan), "plan");
  check(hearth_plan_facts_of(plan, &facts), "plan");
  printf("%" PRIu32 " of %" PRIu32 " experts fit, policy %s\n", facts.expert_slots,
         facts.all_experts, facts.policy);
  printf("%" PRIu64 " bytes in all, %" PRIu64 " of them for experts\n", facts.total, facts.experts);
  check(hearth_plan_save(plan, plan_path), "plan");
  check(hearth_plan_close(plan), "plan");
  check(hearth_profile_close(profile), "profile");
}

static void follow(const char* model, const char* plan_path) {
  hearth_plan* plan;
  hearth_engine* engine;
  hearth_engine_options options = {0};
  hearth_telemetry telemetry = {0};
  options.size = sizeof options;
  telemetry.size = sizeof telemetry;
  check(hearth_plan_load(plan_path, &plan), "plan");
  options.plan = plan;
  check(hearth_engine_open(model, &options, &engine), "engine");
  check(hearth_plan_close(plan), "plan");
  check(hearth_engine_telemetry(engine, &telemetry), "telemetry");
  printf("%" PRIu32 " experts are in memory before the first token\n", telemetry.resident);
  check(hearth_engine_close(engine), "engine");
}

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: profile_and_plan MODEL.gguf TEXT PROFILE.toml PLAN.toml\n");
    return 2;
  }
  learn(argv[1], argv[2], argv[3]);
  make_plan(argv[1], argv[3], argv[4]);
  follow(argv[1], argv[4]);
  return 0;
}
