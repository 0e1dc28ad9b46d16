# style: torch.distributions all the way, the agent's layers in nn.Sequential pieces, terse comments in chatty English
# verdict: wrong
# mistake: loss: the entropy is estimated as minus the mean log-probability of the played actions instead of the sum over all actions
# loses: entropy_value, entropy_gradient
# note: the estimate would be all right as a number on average, but its gradient has expectation zero; and the last column's actions are 0s that nobody played. clip_grad_norm_ at 40 as in A3C, hardly ever bites
# %% keep: setup
# %% keep: imports
# %% keep: make-env
# %% keep: look
# %%
import torch.distributions as td

# Exercise: agent
class SimpleRecurrentAgent(nn.Module):

    def __init__(self, obs_shape, n_actions, units=128):
        super().__init__()
        conv = lambda i: nn.Sequential(nn.Conv2d(i, 32, kernel_size=3, stride=2), nn.ReLU())
        self.eyes = nn.Sequential(conv(obs_shape[0]), conv(32), conv(32), nn.Flatten())
        self.hid = nn.Sequential(nn.Linear(512, units), nn.ReLU())
        self.rnn = nn.LSTMCell(units, units)
        self.actor = nn.Linear(units, n_actions)
        self.critic = nn.Linear(units, 1)

    def forward(self, prev_state, obs_t):
        obs_t = 10 * obs_t - 3.6
        new_state = self.rnn(self.hid(self.eyes(obs_t)), tuple(prev_state))
        out, _ = new_state  # h is the output, c stays inside
        return new_state, (self.actor(out), self.critic(out).flatten())

    @torch.no_grad()
    def step(self, prev_state, obs_t):
        return self(prev_state, torch.as_tensor(obs_t, dtype=torch.float32))

    def get_initial_state(self, batch_size):
        return torch.zeros(2, batch_size, self.rnn.hidden_size).unbind(0)

    def policy(self, logits):
        return td.Categorical(logits=logits)

    def sample_actions(self, agent_outputs):
        return self.policy(agent_outputs[0]).sample().numpy()
# %% keep: agent-check
# %% keep: agent-look
# %% keep: evaluate
# %% keep: record
# %% keep: watch
# %% keep: pool
# %% keep: interact
# %% keep: select
# %%
# Exercise: loss
def train_on_rollout(states, actions, rewards, is_not_done, prev_memory_states, gamma=0.99):
    obs = torch.as_tensor(states, dtype=torch.float32)
    a = torch.as_tensor(actions, dtype=torch.int64)
    r = torch.as_tensor(rewards, dtype=torch.float32)
    m = torch.as_tensor(is_not_done, dtype=torch.float32)
    T = r.shape[1] - 1

    # play it again, Sam
    mem = [p.detach() for p in prev_memory_states]
    outs = []
    for t in range(T + 1):
        mem, out = agent(tuple(mem), obs[:, t])
        outs.append(out)
        mem = [p * m[:, t].view(-1, 1) for p in mem]
    logits, V = (torch.stack(o, dim=1) for o in zip(*outs))

    pi = td.Categorical(logits=logits)
    logp = pi.log_prob(a)

    # returns
    G = m[:, T] * V[:, T].detach()
    Gs = []
    for t in range(T - 1, -1, -1):
        G = r[:, t] + gamma * m[:, t] * G
        Gs.insert(0, G)
    Gs = torch.stack(Gs, dim=1)
    adv = (Gs - V[:, :T]).detach()

    J_hat = (logp[:, :T] * adv).mean()

    td_target = r[:, :T] + gamma * m[:, :T] * V[:, 1:].detach()
    value_loss = (td_target - V[:, :T]).square().mean()

    # H = E[-log pi]
    entropy_reg = -logp.mean()

    loss = -J_hat + value_loss_weight * value_loss - entropy_weight * entropy_reg

    opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), 40.0)
    opt.step()
    return loss.detach().numpy()
# %% keep: loss-check
# %%
opt = torch.optim.Adam(agent.parameters(), lr=3e-4)
# %% keep: optimizer-check
# %% keep: first-step
# %% keep: training-settings
# %% keep: training-pool
# %% keep: history
# %% keep: plots
# %% keep: train
# %% keep: inspect
# %% keep: final
# %% keep: final-video
# %% keep: hand-in
